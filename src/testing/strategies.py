"""Hypothesis strategies: HTTP/1.1 messages and TLS ClientHellos, as they come over the wire.

    from hypothesis import given
    from lockgate.testing import strategies

    @given(strategies.requests(), strategies.cuts())
    def test_mine(request, cut):
        for piece in cut(request.wire):
            ...

What is drawn is valid, and comes with what it means: so a test can tell a parser that refuses from one that misreads. For
invalid input change the bytes. Needs the package hypothesis (`pip install hypothesis`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0189!#$%&'*+-.^_`|~", min_size=1, max_size=12).map(str.encode)
"""A token of RFC 9110 section 5.6.2."""

FIELD_NAME = TOKEN.map(lambda token: b"x-" + token)
"""Names of fields without a meaning in HTTP, in mixed case."""

FIELD_VALUE = st.text(
    st.characters(codec="latin-1", exclude_categories=["Cc"]) | st.just("\t"), max_size=30
).map(lambda text: text.encode("latin-1").strip(b" \t"))  # fmt: skip
"""A field's value: any visible bytes, obs-text too, with white space inside only."""

FIELDS = st.lists(st.tuples(FIELD_NAME, FIELD_VALUE), max_size=6)

METHOD = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"REPORT"]) | TOKEN.filter(
    lambda token: token != b"CONNECT"
)
"""Methods, known and unknown. CONNECT is another kind of request."""

PATH = st.text("abcxyzABC019-._~!$&'()*+,;=:@/", max_size=30).map(lambda text: b"/" + text.encode())
QUERY = st.none() | st.text("abc019-._~=&+/?", max_size=30).map(str.encode)

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOST_NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
"""DNS names in lower case."""

AUTHORITY = st.tuples(
    HOST_NAME | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map("[{}]".format),
    st.just("") | st.integers(1, 65535).map(":{}".format),
).map(lambda parts: "".join(parts).encode())

BODY = st.binary(max_size=200)


@dataclass(frozen=True)
class Wire:
    """A message: the bytes, and what they mean.

    `start`: (method, target, authority) of a request, (status, reason) of a response. `fields` and `trailers` are in order,
    names in lower case, without those that frame the message. `closes`: only the end of the connection ends it.
    """

    wire: bytes
    start: tuple[Any, ...]
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    closes: bool = False


def _lower(fields: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower(), value) for name, value in fields)


@st.composite
def field_lines(draw: st.DrawFn, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The fields as lines, with the white space that a sender may leave around values."""
    space = st.sampled_from([b"", b" ", b"\t", b"  "])
    return b"".join(b"%b:%b%b%b\r\n" % (name, draw(space), value, draw(space)) for name, value in fields)


@st.composite
def chunked(draw: st.DrawFn, body: bytes, trailers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """The body in chunks of any size, some with extensions, and the trailers after it."""
    extension = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b;c"', b"; a = b"])
    wire = bytearray()
    while body:
        size = draw(st.integers(1, len(body)))
        digits = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % size
        wire += b"%b%b\r\n%b\r\n" % (digits, draw(extension), body[:size])
        body = body[size:]
    return bytes(wire) + b"0%b\r\n" % draw(extension) + draw(field_lines(trailers)) + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> Wire:
    """A valid HTTP/1.1 request, with a body of known length, in chunks, or with none."""
    method, path, query, authority = draw(METHOD), draw(PATH), draw(QUERY), draw(AUTHORITY)
    target = path if query is None else path + b"?" + query
    fields = draw(FIELDS)
    framing = draw(st.sampled_from(["none", "length", "chunks"]))
    body = draw(BODY) if framing != "none" else b""
    trailers = draw(FIELDS) if framing == "chunks" else []
    framed = [(draw(st.sampled_from([b"Host", b"host", b"HOST"])), authority)]
    if framing == "length":
        framed.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunks":
        framed.append((b"Transfer-Encoding", draw(st.sampled_from([b"chunked", b"Chunked"]))))
    lines = list(fields)
    for pair in framed:
        lines.insert(draw(st.integers(0, len(lines))), pair)
    head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, draw(field_lines(lines)))
    wire = head + (draw(chunked(body, trailers)) if framing == "chunks" else body)
    return Wire(wire, (method, target, authority), _lower(fields), body, _lower(trailers))


@st.composite
def responses(draw: st.DrawFn) -> Wire:
    """A valid answer to GET: with a body of known length, in chunks, until the connection closes, or with none at all."""
    framing = draw(st.sampled_from(["none", "length", "chunks", "close"]))
    if framing == "none":
        status = draw(st.sampled_from([204, 304]))
    else:
        status = draw(st.integers(200, 599).filter(lambda status: status not in (204, 304)))
    reason = draw(FIELD_VALUE)
    fields = draw(FIELDS)
    body = draw(BODY) if framing != "none" else b""
    trailers = draw(FIELDS) if framing == "chunks" else []
    lines = list(fields)
    if framing == "length":
        lines.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunks":
        lines.append((b"Transfer-Encoding", b"chunked"))
    head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, draw(field_lines(lines)))
    wire = head + (draw(chunked(body, trailers)) if framing == "chunks" else body)
    return Wire(wire, (status, reason), _lower(fields), body, _lower(trailers), closes=framing == "close")


# -- TLS ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """A ClientHello: in records (`wire`), as a message (`message`), and what it offers."""

    wire: bytes
    message: bytes
    server_name: str
    alpn: tuple[bytes, ...]
    cipher_suites: tuple[int, ...]
    versions: tuple[int, ...]
    extensions: tuple[int, ...]


def _vector(width: int, *parts: bytes) -> bytes:
    """A vector of RFC 8446 section 3.4: its length in `width` bytes, then the content."""
    content = b"".join(parts)
    return len(content).to_bytes(width, "big") + content


def _numbers(values: Sequence[int]) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


@st.composite
def client_hellos(draw: st.DrawFn) -> Hello:
    """A well-formed ClientHello (RFC 8446 section 4.1.2), with extensions known and unknown in any order.

    Whether a server can agree to it is left open: the key shares are random.
    """
    number = st.integers(0, 0xFFFF)
    suites = tuple(
        draw(
            st.lists(
                st.sampled_from([0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0x00FF]) | number, min_size=1, max_size=20
            )
        )
    )
    name = draw(st.just("") | HOST_NAME.filter(lambda name: not name[-1].isdigit()))
    alpn = tuple(draw(st.lists(st.sampled_from([b"h2", b"http/1.1"]) | st.binary(min_size=1, max_size=20), max_size=4)))
    versions = tuple(draw(st.lists(st.sampled_from([0x0304, 0x0303, 0x0A0A]), max_size=3, unique=True)))
    known: dict[int, bytes] = {}
    if name:
        known[0] = _vector(2, b"\0" + _vector(2, name.encode()))
    if alpn:
        known[16] = _vector(2, *(_vector(1, protocol) for protocol in alpn))
    if versions:
        known[43] = _vector(1, _numbers(versions))
        known[51] = _vector(2, _numbers([0x001D]) + _vector(2, draw(st.binary(min_size=32, max_size=32))))
    known[10] = _vector(
        2, _numbers(draw(st.lists(st.sampled_from([0x11EC, 0x001D, 0x0017]) | number, min_size=1, max_size=5)))
    )
    known[13] = _vector(2, _numbers(draw(st.lists(st.sampled_from([0x0403, 0x0804]) | number, min_size=1, max_size=8))))
    unknown = st.dictionaries(
        st.integers(0x1000, 0xFE00), st.binary(max_size=50), max_size=3
    )  # no number of these is taken
    extensions = draw(st.permutations(list((draw(unknown) | known).items())))
    body = (
        b"\x03\x03"
        + draw(st.binary(min_size=32, max_size=32))
        + _vector(1, draw(st.just(b"") | st.binary(min_size=32, max_size=32)))
        + _vector(2, _numbers(suites))
        + b"\x01\x00"
        + _vector(2, *(_numbers([kind]) + _vector(2, content) for kind, content in extensions))
    )
    message = b"\x01" + _vector(3, body)
    size = draw(st.sampled_from([16384, 16384, 100, 7]) | st.integers(1, 300))
    wire = b"".join(
        b"\x16\x03\x01" + _vector(2, message[start : start + size]) for start in range(0, len(message), size)
    )
    return Hello(wire, message, name, alpn, suites, versions or (0x0303,), tuple(kind for kind, _ in extensions))


# -- how input comes ---------------------------------------------------------------------------------------------------


@st.composite
def cuts(draw: st.DrawFn) -> Callable[[bytes], list[bytes]]:
    """A way to cut input into pieces: whole, byte by byte, or anywhere; none of the pieces is empty."""
    size = draw(st.sampled_from([0, 1]) | st.integers(2, 50))
    first = draw(st.integers(0, 50))

    def cut(data: bytes) -> list[bytes]:
        if not size:
            return [data] if data else []
        pieces = [data[:first], *(data[start : start + size] for start in range(first, len(data), size))]
        return [piece for piece in pieces if piece]

    return cut
