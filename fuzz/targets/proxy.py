"""The whole proxy: clients, servers, resets, stalls and time, as actions of a script (`world.py` has them)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import generate
import script
from harness import Target, Trace
from world import World

ACTIONS = r"""client
c0 send GET / HTTP/1.1\r\nHost: a.test\r\n\r\n
c0 send GET /b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n
c1 send HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n
c0 send POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello
c0 send POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n
c0 send POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20000\r\n\r\n
c0 send GET / HTTP/1.0\r\n\r\n
c0 send GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n
c0 send 5\r\nhello\r\n
c0 send 0\r\n\r\n
c1 send x*5000
c0 send x*20000
c0 raw \x16\x03\x01
s0 send HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
s1 send HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n
s0 send HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n
s0 send 0\r\n\r\n
s0 send y*20000
s0 send HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello
s0 send HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n
s0 send HTTP/1.1 100 Continue\r\n\r\n
s0 send HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n
s0 send rubbish
c0 eof
c0 cut
c0 reset
c0 stall
c0 take 100
c0 take
c1 take 3000
s0 eof
s0 reset
s0 stall
s0 take 10
s0 take
s1 eof
s0 accept
s0 refuse
connects accept
connects hang
connects refuse
wait 1
wait 30
wait 400
drain"""


class Proxy(Target):
    """`ReverseProxy` with a plain listener."""

    name = "proxy"
    splits = False
    secure = False

    def run(self, pieces: Sequence[bytes]) -> Trace:
        data = b"".join(pieces)
        world = World(data, self.secure)
        for action in script.words(data):
            world.act(action)
        world.end()
        world.judge()
        return world.trace()

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return script.mutate(random, data, other, ACTIONS.encode().split(b"\n"))

    def shape(self, trace: Trace) -> object:
        return tuple(generate.outline(entry) for entry in trace if entry[0] != "end")


class ProxyTLS(Proxy):
    """The same behind TLS; its clients are the standard library's."""

    name = "proxy_tls"
    secure = True
    twin = False  # each handshake has its own secrets, and so sizes
