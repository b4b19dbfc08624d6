"""The work whose instructions `bench/instructions.py` counts; it runs this file under callgrind.

Each workload is made ready, runs some units to be warm (Python specialises its bytecode, buffers grow, pools fill), then N
units and 2 N. `os.getloadavg`, which nothing else calls, is the mark between parts: callgrind writes its counters down and
starts anew whenever libc's function of that name is entered. The difference of the two lengths is the cost of N units,
without what the marks and the loop's beginning cost.

Nothing that counts may differ from run to run: no clock, no sockets, and what is left of earlier work is frozen, out of the
garbage collector's sight. Keys and random bytes do differ, but the ciphers take as many instructions for any. On standard
output: a JSON list of [name, N], in the order of the parts.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import cycle, islice, repeat

import framing
from framing import ALL_REQUESTS, HELLO

from core import NOW, REQUEST, RESPONSE, Proxied, make_identity, records
from lockgate.core.events import EndOfMessage, Request, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.proxy.channel import Channel
from lockgate.core.proxy.phase import OPEN
from lockgate.core.proxy.policy import Identity, Route

WARM, UNITS = 60, 200
"""WARM and three times UNITS stay below the number of requests after which a connection is closed."""
WARM_BODIES, BODIES = 10, 30
SIZE = 65536
HEAD = b"Content-Length: %d\r\n" % SIZE
LARGE_REQUEST = REQUEST.replace(b"GET", b"POST", 1)[:-2] + HEAD + b"\r\n" + bytes(SIZE)
LARGE_RESPONSE = RESPONSE.replace(b"Content-Length: 6\r\n", HEAD).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + bytes(SIZE)
TOGETHER = 10
ROUTES = 10_000
OTHERS = 1000

Work = Callable[[int], None]
"""Does as many units as it is told. What it needs for them was made before."""


def through(proxied: Proxied, channel: Channel, pieces: Iterable[bytes], responses: Iterable[bytes]) -> None:
    """Requests with their responses."""
    for piece, response in zip(pieces, responses, strict=False):
        proxied.exchange(channel, piece, response)
    if not proxied.sent:
        raise SystemExit("the last response was not sent")


def plain(identity: Identity, total: int, *, routes: int = 1) -> Work:
    """A request and its response through the proxy, without TLS."""
    table = [Route("app"), *(Route("app", path=f"/service-{number}/") for number in range(routes - 1))]
    proxied = Proxied(identity, table)
    channel = proxied.open_plain()
    return lambda count: through(proxied, channel, repeat(REQUEST, count), repeat(RESPONSE))


def connect(identity: Identity, total: int) -> Work:
    """A connection without TLS that comes among `OTHERS`, has one request, and is lost."""
    proxied = Proxied(identity)
    others = [proxied.open_plain() for _ in range(OTHERS)]

    def work(count: int) -> None:
        for _ in range(count):
            channel = proxied.open_plain()
            through(proxied, channel, [REQUEST], [RESPONSE])
            channel.connection_lost(NOW, "ECONNRESET")
            proxied.run()
        if any(other.phase != OPEN for other in others):
            raise SystemExit("a connection was closed that should not have been")

    return work


def changing(identity: Identity, total: int) -> Work:
    """The same with a head that is never like the one before, neither of a request nor of a response."""
    proxied = Proxied(identity)
    channel = proxied.open_plain()
    requests = cycle([REQUEST, REQUEST.replace(b"X-Custom: value", b"X-Custom: other")])
    responses = cycle([RESPONSE, RESPONSE.replace(b":14 GMT", b":15 GMT")])
    return lambda count: through(proxied, channel, islice(requests, count), responses)


def tls(identity: Identity, total: int, *, request: bytes = REQUEST, response: bytes = RESPONSE) -> Work:
    """The same over TLS; the server's side of it only."""
    proxied = Proxied(identity)
    channel, client, outgoing = proxied.open_tls()
    pieces = iter(records(client, outgoing, request, total))
    return lambda count: through(proxied, channel, islice(pieces, count), repeat(response))


def over_http_2(identity: Identity, total: int) -> Work:
    """The same over HTTP/2, TLS and a backend with HTTP/1.1 included: one request at a time on one connection."""
    proxied = Proxied(identity)
    channel, client, outgoing = proxied.open_tls(["h2"])
    first, *rest = [HELLO, *islice(ALL_REQUESTS, total)]
    client.write(first)
    channel.receive_data(outgoing.read(), NOW)
    proxied.run()
    pieces = iter([encrypted for piece in rest for encrypted in records(client, outgoing, piece, 1)])
    return lambda count: through(proxied, channel, islice(pieces, count), repeat(RESPONSE))


def over_http_2_together(identity: Identity, total: int) -> Work:
    """The same, `TOGETHER` at a time: requests come in one record, and all responses before the adapter asks what to do."""
    proxied = Proxied(identity)
    channel, client, outgoing = proxied.open_tls(["h2"])
    client.write(HELLO)
    channel.receive_data(outgoing.read(), NOW)
    proxied.run()
    requests = islice(ALL_REQUESTS, total)
    groups = [b"".join(islice(requests, TOGETHER)) for _ in range(total // TOGETHER)]
    pieces = iter([encrypted for group in groups for encrypted in records(client, outgoing, group, 1)])

    def work(count: int) -> None:
        for piece in islice(pieces, count // TOGETHER):
            proxied.ask(channel, piece)
            for server in proxied.servers:
                server.receive_data(RESPONSE, NOW)
            proxied.run()
        if len(proxied.servers) != TOGETHER or not proxied.sent:
            raise SystemExit("not all of the responses were sent")

    return work


def parse(role: Role, message: bytes, total: int) -> Work:
    """A message read by a connection of its own, which is there already and, as a client, has sent its request."""
    connections = [H1Connection(role) for _ in range(total)]
    if role is Role.CLIENT:
        for connection in connections:
            connection.send(Request(b"GET", b"/small", b"localhost"))
            connection.send(EndOfMessage())
            connection.data_to_send()
    rest = iter(connections)  # it keeps them all to its end: what it takes to be rid of them is not counted

    def work(count: int) -> None:
        for connection in islice(rest, count):
            connection.receive_data(message)
            while not isinstance(connection.next_event(), EndOfMessage):
                pass

    return work


def frames(role: Role, total: int) -> Work:
    """A small request and its response over HTTP/2, one side of it, alone."""
    connection = framing.open_connection(role)
    work = framing.serve_all if role is Role.SERVER else framing.fetch_all
    pieces = iter(ALL_REQUESTS if role is Role.SERVER else framing.ALL_RESPONSES)
    return lambda count: work(connection, islice(pieces, count))


def main() -> None:
    """All workloads, one after the other."""
    identity = make_identity()
    workloads: dict[str, tuple[Callable[[int], Work], int, int]] = {
        "request, plain": (partial(plain, identity), WARM, UNITS),
        "request, plain, other fields": (partial(changing, identity), WARM, UNITS),
        "request, plain, 10 000 routes": (partial(plain, identity, routes=ROUTES), WARM, UNITS),
        "request, TLS": (partial(tls, identity), WARM, UNITS),
        "request, HTTP/2 over TLS": (partial(over_http_2, identity), WARM, UNITS),
        "request, HTTP/2, ten together": (partial(over_http_2_together, identity), WARM, UNITS),
        "64 KiB response, TLS": (partial(tls, identity, response=LARGE_RESPONSE), WARM_BODIES, BODIES),
        "64 KiB request, TLS": (partial(tls, identity, request=LARGE_REQUEST), WARM_BODIES, BODIES),
        "connection, plain, with a request": (partial(connect, identity), WARM, UNITS),
        "parse a request": (partial(parse, Role.SERVER, REQUEST), WARM, UNITS),
        "parse a response": (partial(parse, Role.CLIENT, RESPONSE), WARM, UNITS),
        "HTTP/2 alone, server": (partial(frames, Role.SERVER), WARM, UNITS),
        "HTTP/2 alone, client": (partial(frames, Role.CLIENT), WARM, UNITS),
    }
    for make, warm, units in workloads.values():
        work = make(warm + 3 * units)
        work(warm)
        gc.collect()
        gc.freeze()
        os.getloadavg()
        work(units)
        os.getloadavg()
        work(2 * units)
        os.getloadavg()
    json.dump([[name, units] for name, (_, _, units) in workloads.items()], sys.stdout)


if __name__ == "__main__":
    main()
