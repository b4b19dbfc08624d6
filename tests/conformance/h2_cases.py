"""What a server has to do by RFC 9113 and RFC 7541, case by case, as data: the same cases that h2spec 2.6 has, in its order.

A case is what is sent after the connection has started (`steps`), and what has to come back (`expect`). Names are h2spec's
group and number, so that results can be compared; the section is that of RFC 9113 (h2spec counts by RFC 7540). A step is
bytes to send, a function that makes them from what the server has announced, or an expectation that has to be met before
the next step. The page that is asked for is `/`, with at least 5 bytes of body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import support_h2_wire as h2
from conformance.h2_expect import (
    Expectation,
    answer,
    closed,
    connection_error,
    data_of,
    first_is_settings,
    goaway,
    ping_answer,
    ping_answer_or_closed,
    reset,
    settings_answer,
    stream_end,
    stream_error,
)

Announced = Mapping[int, int]
Step = bytes | Expectation | Callable[[Announced], bytes]


@dataclass(frozen=True)
class Case:
    """`begin`: whether preface and settings are exchanged before the first step."""

    name: str
    section: str
    title: str
    steps: tuple[Step, ...]
    expect: Expectation
    begin: bool = True


class SkippedError(Exception):
    """The case cannot be made with what the server has announced."""


BLOCK = h2.section(h2.request())
"""A GET request."""
POST = h2.section(h2.request(method=b"POST"))
DUMMY = h2.section([(b"x-dummy", b"x" * 64)])
ZEROS = bytes(8)
MARK = b"marker\0\0"
TEST = b"test"

P, F = h2.PROTOCOL_ERROR, h2.FRAME_SIZE_ERROR
C, W, S = h2.COMPRESSION_ERROR, h2.FLOW_CONTROL_ERROR, h2.STREAM_CLOSED

GET = h2.headers(1, BLOCK)
OPEN = h2.headers(1, BLOCK, end=False)
POST_OPEN = h2.headers(1, POST, end=False)
NO_WINDOW = h2.settings((h2.INITIAL_WINDOW_SIZE, 0))
UNKNOWN = h2.frame(0x16, 0, 0, ZEROS)


def _with(*more: tuple[bytes, bytes]) -> bytes:
    """A whole GET request with more fields."""
    return h2.get(1, b"/", *more)


def _of(*fields: tuple[bytes, bytes]) -> bytes:
    """A request of just these fields."""
    return h2.headers(1, h2.section(fields))


def _ends_with(representation: bytes) -> bytes:
    """A GET request whose field section ends with this."""
    return h2.headers(1, BLOCK + representation)


METHOD, SCHEME, PATH, AUTHORITY = h2.request()
TRAILERS_OPEN = h2.headers(1, h2.section([(b"x-test", b"ok")]), end=False)

# Names and values with the Huffman code of RFC 7541 appendix B.
USER_AGENT, USER_AGENT_H = b"\x0auser-agent", b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93"
X_TEST, X_TEST_H = b"\x06x-test", b"\x85\xf2\xb2\x4a\x84\xff"
VALUE, VALUE_H = b"\x06h2spec", b"\x84\x9c\x48\xac\xa4"


def _room(announced: Announced) -> int:
    """The largest payload that the server takes, where a larger one can be sent."""
    room = announced.get(h2.MAX_FRAME_SIZE, h2.FRAME_SIZE)
    if room >= (1 << 24) - 1:
        raise SkippedError("no frame is too large")
    return room


def _too_large_data(announced: Announced) -> bytes:
    return h2.data(1, b"x" * (_room(announced) + 1), end=True)


def _too_large_headers(announced: Announced) -> bytes:
    room = _room(announced)
    fields = [(b"x-dummy%d" % number, b"x" * 4000) for number in range(room // 4000 + 1)]
    return h2.headers(1, BLOCK + h2.section(fields))


def _too_many_streams(announced: Announced) -> bytes:
    """One more than may be open. h2spec skips this where no number is announced; we take 200."""
    most = announced.get(h2.MAX_CONCURRENT_STREAMS, 200)
    return b"".join(h2.headers(stream, BLOCK) for stream in range(1, 2 * most + 2, 2))


def _too_large_table(announced: Announced) -> bytes:
    size = announced.get(h2.HEADER_TABLE_SIZE, 4096) + 1
    return h2.headers(1, h2.integer(size, 5, 0x20) + BLOCK)


def _literals() -> tuple[Case, ...]:
    """Each kind of literal, with either name, plain and with the Huffman code (RFC 7541 section 6.2)."""
    kinds = (("6.2.1", "with incremental indexing", b"\x40"), ("6.2.2", "without indexing", b"\x00"),
             ("6.2.3", "never indexed", b"\x10"))  # fmt: skip
    names = (("known name", USER_AGENT, USER_AGENT_H), ("new name", X_TEST, X_TEST_H))
    found = []
    for section, kind, first in kinds:
        for title, name, coded in names:
            for code, field in (("", name + VALUE), (", Huffman code", coded + VALUE_H)):
                number = len(found) + 2
                what = f"literal {kind}, {title}{code}"
                steps = (_ends_with(first + field),)
                found.append(Case(f"generic/5/{number}", f"RFC 7541 section {section}", what, steps, answer(1)))
    return tuple(found)


GENERIC = (
    Case("generic/1/1", "3.4", "preface of the client", (h2.PREFACE, h2.settings((h2.INITIAL_WINDOW_SIZE, h2.WINDOW))),
         first_is_settings(), begin=False),
    Case("generic/2/1", "5.1", "PRIORITY on an idle stream", (h2.priority(1), h2.ping()), ping_answer(ZEROS)),
    Case("generic/2/2", "5.1", "WINDOW_UPDATE on a half-closed (remote) stream",
         (NO_WINDOW, GET, h2.window_update(1, 1)), data_of(1)),
    Case("generic/2/3", "5.1", "PRIORITY on a half-closed (remote) stream",
         (NO_WINDOW, GET, h2.priority(1), h2.window_update(1, 1)), data_of(1)),
    Case("generic/2/4", "5.1", "RST_STREAM on a half-closed (remote) stream",
         (GET, h2.rst_stream(1), h2.ping()), ping_answer_or_closed(ZEROS)),
    Case("generic/2/5", "5.1", "PRIORITY on a closed stream",
         (GET, stream_end(1), h2.priority(1), h2.ping()), ping_answer(ZEROS)),
    Case("generic/3.1/1", "6.1", "DATA", (POST_OPEN, h2.data(1, TEST, end=True)), answer(1)),
    Case("generic/3.1/2", "6.1", "two DATA frames", (POST_OPEN, h2.data(1, TEST), h2.data(1, TEST, end=True)), answer(1)),
    Case("generic/3.1/3", "6.1", "DATA with padding", (POST_OPEN, h2.data(1, TEST, end=True, padding=6)), answer(1)),
    Case("generic/3.2/1", "6.2", "HEADERS", (GET,), answer(1)),
    Case("generic/3.2/2", "6.2", "HEADERS with padding", (h2.headers(1, BLOCK, padding=8),), answer(1)),
    Case("generic/3.2/3", "6.2", "HEADERS with priority", (h2.headers(1, BLOCK, priority=h2.dependency()),), answer(1)),
    Case("generic/3.3/1", "6.3", "PRIORITY with weight 1", (h2.priority(1, weight=0), GET), answer(1)),
    Case("generic/3.3/2", "6.3", "PRIORITY with weight 256", (h2.priority(1, weight=255), GET), answer(1)),
    Case("generic/3.3/3", "6.3", "PRIORITY with a dependency", (h2.priority(3, on=1, weight=0), GET), answer(1)),
    Case("generic/3.3/4", "6.3", "PRIORITY, exclusive", (h2.priority(1, weight=0, exclusive=True), GET), answer(1)),
    Case("generic/3.3/5", "6.3", "PRIORITY for an idle stream, then HEADERS of a lower one", (h2.priority(3), GET), answer(1)),
    Case("generic/3.4/1", "6.4", "RST_STREAM", (OPEN, h2.rst_stream(1), h2.ping()), ping_answer_or_closed(ZEROS)),
    Case("generic/3.5/1", "6.5", "SETTINGS with all parameters",
         (h2.settings((1, 4096), (2, 1), (3, 100), (4, 65535), (5, 16384), (6, 100)),), settings_answer()),
    Case("generic/3.7/1", "6.7", "PING", (h2.ping(MARK),), ping_answer(MARK)),
    Case("generic/3.8/1", "6.8", "GOAWAY", (h2.goaway(more=b"reason"),), closed()),
    Case("generic/3.9/1", "6.9", "WINDOW_UPDATE for the connection", (h2.window_update(0, 1), h2.ping()), ping_answer(ZEROS)),
    Case("generic/3.9/2", "6.9", "WINDOW_UPDATE for a stream", (GET, h2.window_update(1, 1)), answer(1)),
    Case("generic/3.10/1", "6.10", "CONTINUATION",
         (h2.headers(1, BLOCK[:5], end_headers=False), h2.continuation(1, BLOCK[5:])), answer(1)),
    Case("generic/3.10/2", "6.10", "two CONTINUATION frames",
         (h2.headers(1, BLOCK[:5], end_headers=False), h2.continuation(1, BLOCK[5:10], end_headers=False),
          h2.continuation(1, BLOCK[10:])), answer(1)),
    Case("generic/4/1", "8.1", "GET", (GET,), answer(1)),
    Case("generic/4/2", "8.1", "HEAD", (h2.headers(1, h2.section(h2.request(method=b"HEAD"))),), answer(1)),
    Case("generic/4/3", "8.1", "POST", (POST_OPEN, h2.data(1, TEST, end=True)), answer(1)),
    Case("generic/4/4", "8.1", "POST with trailers",
         (h2.headers(1, POST + h2.section([(b"trailer", b"x-test")]), end=False), h2.data(1, TEST),
          h2.headers(1, h2.section([(b"x-test", b"ok")]))), answer(1)),
    Case("generic/5/1", "RFC 7541 section 6.1", "indexed field", (_ends_with(b"\xba"),), answer(1)),
    *_literals(),
    Case("generic/5/14", "RFC 7541 section 6.3", "table size update", (h2.headers(1, b"\x20" + BLOCK),), answer(1)),
    Case("generic/5/15", "RFC 7541 section 4.2", "two table size updates",
         (h2.headers(1, b"\x20\x3f\xe1\x1f" + BLOCK),), answer(1)),
)  # fmt: skip

HTTP2 = (
    Case("http2/3.5/1", "3.4", "preface of the client", (h2.PREFACE, h2.settings((h2.INITIAL_WINDOW_SIZE, h2.WINDOW))),
         first_is_settings(), begin=False),
    Case("http2/3.5/2", "3.4", "invalid preface", (b"INVALID CONNECTION PREFACE\r\n\r\n",), closed(), begin=False),
    Case("http2/4.1/1", "4.1", "frame of unknown type", (UNKNOWN, h2.ping()), ping_answer(ZEROS)),
    Case("http2/4.1/2", "4.1", "undefined flags", (h2.frame(h2.PING, 0x16, 0, ZEROS),), ping_answer(ZEROS)),
    Case("http2/4.1/3", "4.1", "reserved bit", (h2.frame(h2.PING, 0x16, 1 << 31, ZEROS),), ping_answer(ZEROS)),
    Case("http2/4.2/1", "4.2", "DATA of 2^14 bytes", (POST_OPEN, h2.data(1, b"x" * h2.FRAME_SIZE, end=True)), answer(1)),
    Case("http2/4.2/2", "4.2", "DATA above SETTINGS_MAX_FRAME_SIZE", (POST_OPEN, _too_large_data), stream_error(F)),
    Case("http2/4.2/3", "4.2", "HEADERS above SETTINGS_MAX_FRAME_SIZE", (_too_large_headers,), connection_error(F)),
    Case("http2/4.3/1", "4.3", "invalid field section", (h2.headers(1, b"\x40"),), connection_error(C)),
    Case("http2/4.3/2", "4.3", "PRIORITY within a field section",
         (h2.headers(1, BLOCK, end=False, end_headers=False), h2.priority(1), h2.continuation(1, DUMMY)),
         connection_error(P)),
    Case("http2/4.3/3", "4.3", "HEADERS of another stream within a field section",
         (h2.headers(1, BLOCK, end=False, end_headers=False), h2.headers(3, BLOCK), h2.continuation(1, DUMMY)),
         connection_error(P)),
    Case("http2/5.1/1", "5.1", "idle: DATA", (h2.data(1, TEST, end=True),), connection_error(P)),
    Case("http2/5.1/2", "5.1", "idle: RST_STREAM", (h2.rst_stream(1),), connection_error(P)),
    Case("http2/5.1/3", "5.1", "idle: WINDOW_UPDATE", (h2.window_update(1, 100),), connection_error(P)),
    Case("http2/5.1/4", "5.1", "idle: CONTINUATION", (h2.continuation(1, BLOCK),), connection_error(P)),
    Case("http2/5.1/5", "5.1", "half-closed (remote): DATA", (GET, h2.data(1, TEST, end=True)), stream_error(S)),
    Case("http2/5.1/6", "5.1", "half-closed (remote): HEADERS", (GET, GET), stream_error(S)),
    Case("http2/5.1/7", "5.1", "half-closed (remote): CONTINUATION", (GET, h2.continuation(1, BLOCK)), stream_error(S, P)),
    Case("http2/5.1/8", "5.1", "closed by RST_STREAM: DATA",
         (OPEN, h2.rst_stream(1), h2.data(1, TEST, end=True)), stream_error(S)),
    Case("http2/5.1/9", "5.1", "closed by RST_STREAM: HEADERS", (OPEN, h2.rst_stream(1), GET), stream_error(S)),
    Case("http2/5.1/10", "5.1", "closed by RST_STREAM: CONTINUATION",
         (OPEN, h2.rst_stream(1), h2.continuation(1, DUMMY)), stream_error(S, P)),
    Case("http2/5.1/11", "5.1", "closed: DATA", (GET, stream_end(1), h2.data(1, TEST, end=True)), connection_error(S)),
    Case("http2/5.1/12", "5.1", "closed: HEADERS", (GET, stream_end(1), GET), connection_error(S)),
    Case("http2/5.1/13", "5.1", "closed: CONTINUATION",
         (GET, stream_end(1), h2.continuation(1, DUMMY)), connection_error(S, P)),
    Case("http2/5.1.1/1", "5.1.1", "even stream identifier", (h2.headers(2, BLOCK),), connection_error(P)),
    Case("http2/5.1.1/2", "5.1.1", "stream identifier below an earlier one",
         (h2.headers(5, BLOCK), h2.headers(3, BLOCK)), connection_error(P)),
    Case("http2/5.1.1/3", "5.1.1", "HEADERS on a half-closed (remote) stream",
         (h2.headers(5, BLOCK), h2.headers(5, BLOCK)), stream_error(S)),
    Case("http2/5.1.2/1", "5.1.2", "more streams than may be open",
         (NO_WINDOW, _too_many_streams), stream_error(P, h2.REFUSED_STREAM)),
    Case("http2/5.3.1/1", "RFC 7540 section 5.3.1", "HEADERS that depend on themselves",
         (h2.headers(1, BLOCK, priority=h2.dependency(1)),), stream_error(P)),
    Case("http2/5.3.1/2", "RFC 7540 section 5.3.1", "PRIORITY that depends on itself",
         (h2.priority(1, on=1),), stream_error(P)),
    Case("http2/5.4.1/1", "5.4.1", "the connection is closed after an error", (h2.frame(h2.PING, 0, 3, ZEROS),), closed()),
    Case("http2/5.4.1/2", "5.4.1", "GOAWAY comes before it", (h2.frame(h2.PING, 0, 3, ZEROS),), goaway(P)),
    Case("http2/5.5/1", "5.5", "unknown extension frame", (UNKNOWN, h2.ping()), ping_answer(ZEROS)),
    Case("http2/5.5/2", "5.5", "unknown extension frame within a field section",
         (h2.headers(1, BLOCK, end_headers=False), UNKNOWN), connection_error(P)),
    Case("http2/6.1/1", "6.1", "DATA on stream 0", (h2.data(0, TEST, end=True),), connection_error(P)),
    Case("http2/6.1/2", "6.1", "DATA on a stream that is neither open nor half-closed (local)",
         (h2.headers(1, POST), h2.data(1, TEST, end=True)), stream_error(S)),
    Case("http2/6.1/3", "6.1", "DATA with more padding than payload",
         (h2.headers(1, POST + h2.section([(b"content-length", b"4")]), end=False),
          h2.frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\x06Test")), connection_error(P)),
    Case("http2/6.2/1", "6.2", "HEADERS without END_HEADERS, then PRIORITY",
         (h2.headers(1, BLOCK, end=False, end_headers=False), h2.priority(1), h2.continuation(1, DUMMY)),
         connection_error(P)),
    Case("http2/6.2/2", "6.2", "HEADERS without END_HEADERS, then HEADERS of another stream",
         (h2.headers(1, BLOCK, end=False, end_headers=False), h2.headers(3, BLOCK), h2.continuation(1, DUMMY)),
         connection_error(P)),
    Case("http2/6.2/3", "6.2", "HEADERS on stream 0", (h2.headers(0, BLOCK),), connection_error(P)),
    Case("http2/6.2/4", "6.2", "HEADERS with more padding than payload",
         (h2.frame(h2.HEADERS, h2.PADDED | h2.END_HEADERS | h2.END_STREAM, 1, bytes((len(BLOCK) + 1,)) + BLOCK),),
         stream_error(P)),
    Case("http2/6.3/1", "6.3", "PRIORITY on stream 0", (h2.priority(0),), connection_error(P)),
    Case("http2/6.3/2", "6.3", "PRIORITY of 4 bytes", (GET, h2.frame(h2.PRIORITY, 0, 1, b"\x80\0\0\1")), stream_error(F)),
    Case("http2/6.3/3", "6.3", "PRIORITY for an idle stream, then HEADERS of a lower one", (h2.priority(3), GET), answer(1)),
    Case("http2/6.4/1", "6.4", "RST_STREAM on stream 0", (h2.rst_stream(0),), connection_error(P)),
    Case("http2/6.4/2", "6.4", "RST_STREAM on an idle stream", (h2.rst_stream(1),), connection_error(P)),
    Case("http2/6.4/3", "6.4", "RST_STREAM of 3 bytes", (GET, h2.frame(h2.RST_STREAM, 0, 1, bytes(3))), stream_error(F)),
    Case("http2/6.5/1", "6.5", "SETTINGS acknowledgement with payload", (h2.frame(h2.SETTINGS, h2.ACK, 0, b"\0"),),
         connection_error(F)),
    Case("http2/6.5/2", "6.5", "SETTINGS on stream 1", (h2.frame(h2.SETTINGS, 0, 1, b"\0\3\0\0\0\x64"),), connection_error(P)),
    Case("http2/6.5/3", "6.5", "SETTINGS whose length is no multiple of 6",
         (h2.frame(h2.SETTINGS, 0, 0, b"\0\3\0\0\0\x64\0\2"),), connection_error(P, F)),
    Case("http2/6.5.2/1", "6.5.2", "ENABLE_PUSH 2", (h2.settings((h2.ENABLE_PUSH, 2)),), connection_error(P)),
    Case("http2/6.5.2/2", "6.5.2", "INITIAL_WINDOW_SIZE 2^31", (h2.settings((h2.INITIAL_WINDOW_SIZE, 1 << 31)),),
         connection_error(W)),
    Case("http2/6.5.2/3", "6.5.2", "MAX_FRAME_SIZE 2^14 - 1", (h2.settings((h2.MAX_FRAME_SIZE, 16383)),), connection_error(P)),
    Case("http2/6.5.2/4", "6.5.2", "MAX_FRAME_SIZE 2^24", (h2.settings((h2.MAX_FRAME_SIZE, 1 << 24)),), connection_error(P)),
    Case("http2/6.5.2/5", "6.5.2", "unknown setting", (h2.settings((0xFF, 1)), h2.ping()), ping_answer(ZEROS)),
    Case("http2/6.5.3/1", "6.5.3", "values are taken in their order",
         (h2.settings((h2.INITIAL_WINDOW_SIZE, 100), (h2.INITIAL_WINDOW_SIZE, 1)), settings_answer(), GET), data_of(1, 1)),
    Case("http2/6.5.3/2", "6.5.3", "SETTINGS are acknowledged", (h2.settings((h2.ENABLE_PUSH, 0)),), settings_answer()),
    Case("http2/6.7/1", "6.7", "PING", (h2.ping(MARK),), ping_answer(MARK)),
    Case("http2/6.7/2", "6.7", "PING acknowledgement is not answered", (h2.ping(b"invalid\0", ack=True), h2.ping(MARK)),
         ping_answer(MARK)),
    Case("http2/6.7/3", "6.7", "PING on stream 1", (h2.frame(h2.PING, 0, 1, ZEROS),), connection_error(P)),
    Case("http2/6.7/4", "6.7", "PING of 6 bytes", (h2.frame(h2.PING, 0, 0, bytes(6)),), connection_error(F)),
    Case("http2/6.8/1", "6.8", "GOAWAY on stream 1", (h2.frame(h2.GOAWAY, 0, 1, ZEROS),), connection_error(P)),
    Case("http2/6.9/1", "6.9", "WINDOW_UPDATE by 0 for the connection", (h2.window_update(0, 0),), connection_error(P)),
    Case("http2/6.9/2", "6.9", "WINDOW_UPDATE by 0 for a stream", (OPEN, h2.window_update(1, 0)), stream_error(P)),
    Case("http2/6.9/3", "6.9", "WINDOW_UPDATE of 3 bytes", (h2.frame(h2.WINDOW_UPDATE, 0, 0, b"\0\0\1"),), connection_error(F)),
    Case("http2/6.9.1/1", "6.9.1", "window of 1 byte",
         (h2.settings((h2.INITIAL_WINDOW_SIZE, 1)), settings_answer(), GET), data_of(1, 1)),
    Case("http2/6.9.1/2", "6.9.1", "window of the connection above 2^31 - 1",
         (h2.window_update(0, h2.LARGEST), h2.window_update(0, h2.LARGEST)), goaway(W)),
    Case("http2/6.9.1/3", "6.9.1", "window of a stream above 2^31 - 1",
         (OPEN, h2.window_update(1, h2.LARGEST), h2.window_update(1, h2.LARGEST)), reset(1, W)),
    Case("http2/6.9.2/1", "6.9.2", "INITIAL_WINDOW_SIZE changes open streams",
         (NO_WINDOW, settings_answer(), GET, h2.settings((h2.INITIAL_WINDOW_SIZE, 1)), settings_answer()), data_of(1, 1)),
    Case("http2/6.9.2/2", "6.9.2", "negative window",
         (h2.settings((h2.INITIAL_WINDOW_SIZE, 3)), settings_answer(), GET, data_of(1),
          h2.settings((h2.INITIAL_WINDOW_SIZE, 2)), settings_answer(), h2.window_update(1, 2)), data_of(1, 1)),
    Case("http2/6.9.2/3", "6.9.2", "INITIAL_WINDOW_SIZE above 2^31 - 1",
         (h2.settings((h2.INITIAL_WINDOW_SIZE, 1 << 31)),), connection_error(W)),
    Case("http2/6.10/1", "6.10", "two CONTINUATION frames after HEADERS",
         (h2.headers(1, BLOCK, end_headers=False), h2.continuation(1, DUMMY, end_headers=False), h2.continuation(1, DUMMY)),
         answer(1)),
    Case("http2/6.10/2", "6.10", "CONTINUATION, then DATA before END_HEADERS",
         (h2.headers(1, POST, end=False, end_headers=False), h2.continuation(1, DUMMY, end_headers=False),
          h2.data(1, TEST, end=True)), connection_error(P)),
    Case("http2/6.10/3", "6.10", "CONTINUATION on stream 0",
         (h2.headers(1, BLOCK, end_headers=False), h2.continuation(0, DUMMY)), connection_error(P)),
    Case("http2/6.10/4", "6.10", "CONTINUATION after HEADERS with END_HEADERS", (GET, h2.continuation(1, DUMMY)),
         connection_error(P)),
    Case("http2/6.10/5", "6.10", "CONTINUATION after CONTINUATION with END_HEADERS",
         (h2.headers(1, BLOCK, end_headers=False), h2.continuation(1, DUMMY), h2.continuation(1, DUMMY)),
         connection_error(P)),
    Case("http2/6.10/6", "6.10", "CONTINUATION after DATA",
         (h2.headers(1, POST, end=False, end_headers=False), h2.data(1, TEST, end=True), h2.continuation(1, DUMMY)),
         connection_error(P)),
    Case("http2/7/1", "7", "GOAWAY with an unknown error code", (h2.goaway(code=0xFF),), closed()),
    Case("http2/7/2", "7", "RST_STREAM with an unknown error code", (POST_OPEN, h2.rst_stream(1, 0xFF), h2.ping()),
         ping_answer(ZEROS)),
    Case("http2/8.1/1", "8.1", "second HEADERS without END_STREAM", (POST_OPEN, h2.data(1, TEST), TRAILERS_OPEN),
         stream_error(P)),
    Case("http2/8.1.2/1", "8.2.1", "field name in upper case", (_with((b"X-TEST", b"ok")),), stream_error(P)),
    Case("http2/8.1.2.1/1", "8.3", "unknown pseudo-header field", (_with((b":test", b"ok")),), stream_error(P)),
    Case("http2/8.1.2.1/2", "8.3", "pseudo-header field of a response", (_with((b":status", b"200")),), stream_error(P)),
    Case("http2/8.1.2.1/3", "8.1", "pseudo-header field in trailers",
         (POST_OPEN, h2.data(1, TEST), h2.headers(1, h2.section([(b":method", b"POST")]))), stream_error(P)),
    Case("http2/8.1.2.1/4", "8.3", "pseudo-header field after a regular one",
         (_of((b"x-test", b"ok"), METHOD, SCHEME, PATH, AUTHORITY),), stream_error(P)),
    Case("http2/8.1.2.2/1", "8.2.2", "Connection field", (_with((b"connection", b"keep-alive")),), stream_error(P)),
    Case("http2/8.1.2.2/2", "8.2.2", "TE other than trailers",
         (_with((b"trailers", b"test"), (b"te", b"trailers, deflate")),), stream_error(P)),
    Case("http2/8.1.2.3/1", "8.3.1", "empty :path", (_of(METHOD, SCHEME, (b":path", b""), AUTHORITY),), stream_error(P)),
    Case("http2/8.1.2.3/2", "8.3.1", "no :method", (_of(SCHEME, PATH, AUTHORITY),), stream_error(P)),
    Case("http2/8.1.2.3/3", "8.3.1", "no :scheme", (_of(METHOD, PATH, AUTHORITY),), stream_error(P)),
    Case("http2/8.1.2.3/4", "8.3.1", "no :path", (_of(METHOD, SCHEME, AUTHORITY),), stream_error(P)),
    Case("http2/8.1.2.3/5", "8.3.1", "two :method", (_with(METHOD),), stream_error(P)),
    Case("http2/8.1.2.3/6", "8.3.1", "two :scheme", (_with(SCHEME),), stream_error(P)),
    Case("http2/8.1.2.3/7", "8.3.1", "two :path", (_with(PATH),), stream_error(P)),
    Case("http2/8.1.2.6/1", "8.1.1", "content-length is not the length of the DATA",
         (h2.post(1, b"/", (b"content-length", b"1")), h2.data(1, TEST, end=True)), stream_error(P)),
    Case("http2/8.1.2.6/2", "8.1.1", "content-length is not the sum of all DATA",
         (h2.post(1, b"/", (b"content-length", b"1")), h2.data(1, TEST), h2.data(1, TEST, end=True)), stream_error(P)),
    Case("http2/8.2/1", "8.4", "PUSH_PROMISE", (h2.push_promise(1, 3, BLOCK),), connection_error(P)),
)  # fmt: skip

HPACK = (
    Case("hpack/2.3.3/1", "RFC 7541 section 2.3.3", "index beyond both tables", (_ends_with(b"\xfe"),), connection_error(C)),
    Case("hpack/2.3.3/2", "RFC 7541 section 2.3.3", "literal whose name's index is beyond both tables",
         (_ends_with(b"\x7f\x3f" + VALUE),), connection_error(C)),
    Case("hpack/4.2/1", "RFC 7541 section 4.2", "table size update at the end of a section", (_ends_with(b"\x21"),),
         connection_error(C)),
    Case("hpack/5.2/1", "RFC 7541 section 5.2", "Huffman padding of more than 7 bits",
         (_ends_with(b"\x00" + X_TEST_H + b"\x84\x49\x50\x9f\xff"),), connection_error(C)),
    Case("hpack/5.2/2", "RFC 7541 section 5.2", "Huffman padding of zeros",
         (_ends_with(b"\x00" + X_TEST_H + b"\x83\x49\x50\x90"),), connection_error(C)),
    Case("hpack/5.2/3", "RFC 7541 section 5.2", "the code of EOS within a string",
         (_ends_with(b"\x00" + X_TEST_H[:-1] + b"\x87\xff\xff\xff\xfd\x25\x42\x7f"),), connection_error(C)),
    Case("hpack/6.1/1", "RFC 7541 section 6.1", "index 0", (_ends_with(b"\x80"),), connection_error(C)),
    Case("hpack/6.3/1", "RFC 7541 section 6.3", "table size update above SETTINGS_HEADER_TABLE_SIZE", (_too_large_table,),
         connection_error(C)),
)  # fmt: skip

CASES = (*GENERIC, *HTTP2, *HPACK)
