"""TLS gives large buffers back half a second after the last request, not between those for one page."""

from __future__ import annotations

import ctypes
import os

import pytest
from support_proxy import World, head, shuttle
from support_proxy_h2 import SECURE, Client, world
from support_tls import SSLPeer, ssl_client_context
from support_tls_pair import ENGINES

from lockgate.core.limits import Limits
from lockgate.core.tls.connection import EARLY_BYTES

COUNT = 40
SIZE = 12000  # one record, for which OpenSSL's buffer has to grow
ANSWER = head(f"HTTP/1.1 200 OK\nContent-Length: {SIZE}") + bytes(SIZE)
REST = 0.5
IDLE = Limits().idle_timeout
PROTOCOLS = pytest.mark.parametrize("protocol", ["http/1.1", "h2"])


class Visitor:
    """A client that asks for one file after the other on one connection."""

    def __init__(self, w: World, protocol: str) -> None:
        self.world = w
        self.h2 = Client(w) if protocol == "h2" else None
        if self.h2 is None:
            self.end = w.client(SECURE)
            self.tls = SSLPeer(ssl_client_context(), server_name="a.test")
            shuttle(self.end, self.tls)
        else:
            self.end = self.h2.end

    def get(self) -> bool:
        """Whether the whole file came."""
        if self.h2 is not None:
            stream = self.h2.ask()
            self.world.servers[-1].send(ANSWER)
            return self.h2.get(stream).body == bytes(SIZE)
        self.tls.received.clear()
        self.tls.send(head("GET / HTTP/1.1\nHost: a.test"))
        shuttle(self.end, self.tls)
        self.world.servers[-1].send(ANSWER)
        shuttle(self.end, self.tls)
        return self.tls.received.endswith(bytes(SIZE))


class Statistics(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [(f"field_{index}", ctypes.c_size_t) for index in range(10)]


def in_use() -> int:
    """Bytes that malloc has given out."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Statistics
    statistics = mallinfo2()
    return int(statistics.field_7) + int(statistics.field_4)  # uordblks, hblkhd


def given_back(w: World, seconds: float) -> int:
    """Bytes that time alone gives back."""
    before = in_use()
    w.wait(seconds)
    return before - in_use()


@PROTOCOLS
@pytest.mark.skipif("native" not in ENGINES, reason="pyOpenSSL has no way to do it")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="no glibc that can be asked")
@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer's malloc does not say")
def test_buffers_stay_for_half_a_second(protocol: str) -> None:
    w = world()
    visitors = [Visitor(w, protocol) for _ in range(COUNT)]
    for _ in range(EARLY_BYTES // SIZE + 2):  # records are small before
        assert all(visitor.get() for visitor in visitors)
    for _ in range(4):
        assert given_back(w, 0.3) < COUNT * 1000
        assert all(visitor.get() for visitor in visitors)
    assert given_back(w, REST - 0.01) < COUNT * 1000
    assert given_back(w, 0.02) > COUNT * SIZE
    assert all(visitor.get() for visitor in visitors)


@PROTOCOLS
def test_an_idle_connection_is_closed_in_time(protocol: str) -> None:
    w = world()
    visitor = Visitor(w, protocol)
    assert visitor.get()
    w.wait(IDLE - 0.1)
    assert not visitor.end.how
    w.wait(0.2)
    assert visitor.end.how


@PROTOCOLS
def test_a_short_idle_timeout(protocol: str) -> None:
    w = world(limits=Limits(idle_timeout=0.2))
    visitor = Visitor(w, protocol)
    assert visitor.get()
    w.wait(0.19)
    assert not visitor.end.how
    w.wait(0.02)
    assert visitor.end.how
