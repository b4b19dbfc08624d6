"""PROXY headers for tests of the proxy: who sends them, what they say, and a world in which clients come behind one."""

from __future__ import annotations

from ipaddress import ip_network

from support_proxy import End, World, head
from support_tls import SSLPeer

from lockgate.core.proxy.policy import Listener, Policy
from lockgate.core.proxy_protocol.format import SIGNATURE
from lockgate.core.proxy_protocol.writer import proxy_v1, proxy_v2

SOURCES = (ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48"))
PLAIN = Listener("plain", tls=False, proxy_sources=SOURCES)
SECURE = Listener("secure", proxy_sources=SOURCES)
BALANCER = ("10.1.2.3", 5000)
CLIENT, ARRIVED = ("203.0.113.9", 1234), ("198.51.100.1", 443)
V1, V2 = proxy_v1(CLIENT, ARRIVED), proxy_v2(CLIENT, ARRIVED, authority="a.test", checksum=True)
LOCAL = SIGNATURE + b"\x20\0\0\0"
UNKNOWN = (b"PROXY UNKNOWN\r\n", proxy_v2(None, None), SIGNATURE + b"\x21\x31\0\xd8" + bytes(216))
FORGED = head("GET /x HTTP/1.1\nHost: a.test\nX-Forwarded-For: 6.6.6.6")


def told(server: End) -> str:
    """The X-Forwarded-For that a server was sent."""
    (line,) = [line for line in server.text.split("\r\n") if line.startswith("x-forwarded-for: ")]
    return line.partition(": ")[2]


class Behind(World):
    """A world whose clients come through a proxy that says `header` first."""

    def __init__(self, header: bytes, policy: Policy | None = None) -> None:
        super().__init__(policy=policy)
        self.header = header

    def client(
        self, listener: Listener = PLAIN, peer: tuple[str, int] = BALANCER, local: tuple[str, int] = ("", 0)
    ) -> End:
        end = super().client(listener, peer, local)
        end.send(self.header)
        return end


def tls_exchange(end: End, tls: SSLPeer) -> None:
    """Pass bytes to and fro until nothing moves."""
    while data := tls.data_to_send():
        end.send(data)
        came, end.received = end.received, b""
        tls.receive_data(came)
