"""TLS gives large buffers back when nothing was asked for half a second, not between the requests for one page.

What that does to memory is tested where it is done (`test_tls_buffers.py`); here it is noted when it is asked for.
"""

from __future__ import annotations

from typing import Any

import pytest
from support_proxy import OK, World, head, shuttle
from support_proxy_h2 import BOTH, SECURE, Client, world
from support_tls import SSLPeer, authority, ssl_client_context

from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Identity, Policy, Route
from lockgate.core.tls.context import server_context
from lockgate.core.tls.engine import Engine, Notes, PyOpenSSLContext, PyOpenSSLEngine

REST = 0.5
IDLE = Limits().idle_timeout
PROTOCOLS = pytest.mark.parametrize("protocol", ["http/1.1", "h2"])

rests: list[Engine] = []


class RestingEngine(PyOpenSSLEngine):
    def rest(self) -> None:
        rests.append(self)


class RestingContext(PyOpenSSLContext):
    def engine(self, server_name: str, address: bytes, session: Any = None) -> Engine:
        connection = self._connection()
        connection.set_app_data(Notes())
        connection.set_accept_state()
        return RestingEngine(connection, verify=False)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    rests.clear()


def resting_world(**settings: object) -> World:
    identity = Identity(
        ("a.test",), server_context([authority().issue("a.test").pair], options=BOTH, engine=RestingContext)
    )
    policy = Policy.build(backends=[Backend("app", ("10.0.0.1:80",))], routes=[Route("app")], identities=[identity])
    return world(policy=policy, **settings)


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

    def get(self) -> None:
        self.ask()
        self.world.servers[-1].send(OK)
        if self.h2 is None:
            shuttle(self.end, self.tls)
            assert self.tls.received.endswith(b"hello")
        else:
            assert self.h2.get(self.stream).body == b"hello"

    def ask(self) -> None:
        if self.h2 is None:
            self.tls.received.clear()
            self.tls.send(head("GET / HTTP/1.1\nHost: a.test"))
            shuttle(self.end, self.tls)
        else:
            self.stream = self.h2.ask()


@PROTOCOLS
def test_half_a_second_after_the_last_answer_and_once(protocol: str) -> None:
    w = resting_world()
    visitor = Visitor(w, protocol)
    for count in range(3):
        for _ in range(4):
            visitor.get()
            w.wait(0.3)
        assert len(rests) == count
        w.wait(0.19)
        assert len(rests) == count
        w.wait(0.02)
        assert len(rests) == count + 1
        w.wait(5)
        assert len(rests) == count + 1


@PROTOCOLS
def test_not_while_an_answer_is_waited_for(protocol: str) -> None:
    w = resting_world()
    visitor = Visitor(w, protocol)
    visitor.ask()
    w.wait(10)
    assert rests == []


@PROTOCOLS
def test_what_the_handshake_took_is_not_kept_for_a_first_request(protocol: str) -> None:
    w = resting_world()
    Visitor(w, protocol)
    w.wait(REST - 0.01)
    assert rests == []
    w.wait(0.02)
    assert len(rests) == 1


@PROTOCOLS
def test_an_idle_connection_is_closed_in_time(protocol: str) -> None:
    w = resting_world()
    visitor = Visitor(w, protocol)
    visitor.get()
    w.wait(IDLE - 0.1)
    assert not visitor.end.how
    w.wait(0.2)
    assert visitor.end.how


@PROTOCOLS
def test_a_short_idle_timeout(protocol: str) -> None:
    w = resting_world(limits=Limits(idle_timeout=0.2))
    visitor = Visitor(w, protocol)
    visitor.get()
    w.wait(0.19)
    assert not visitor.end.how
    w.wait(0.02)
    assert visitor.end.how
