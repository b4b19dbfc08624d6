"""Makes new inputs out of old ones, knowing how they are built.

Random bytes hardly ever get past the first check of a parser. So each mutator works on the parts that the protocol has:
lines, fields and chunks of HTTP; records, messages and extensions of TLS; the actions of a script. Below all of them is
`mutate_bytes`, which knows nothing. The words to put in are those that parsers have been known to disagree about.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any


def _words(*lines: str) -> list[bytes]:
    return [word.encode("latin-1") for line in lines for word in line.split("|")]


START_LINES = _words(
    "GET / HTTP/1.1|HEAD /a?b=c HTTP/1.1|POST /x HTTP/1.0|OPTIONS * HTTP/1.1|GET http://b.test/x HTTP/1.1|PRI * HTTP/2.0",
    "PUT /%2e%2e/%2Fa HTTP/1.1|GET  / HTTP/1.1|GET / HTTP/1.2|CONNECT a:443 HTTP/1.1|GET /\\x|GET / HTTP/1.1 |GET /",
    "HTTP/1.1 200 OK|HTTP/1.1 204 No Content|HTTP/1.1 304 |HTTP/1.0 200|HTTP/1.1 100 Continue|HTTP/1.1 103 Early Hints",
    "HTTP/1.1 101 Switching Protocols|HTTP/1.1 500 \xe4|HTTP/1.1 999 x|HTTP/1.1 0200 OK|HTTP/1.1  200 OK|get / http/1.1",
)
FIELDS = _words(
    "Host: a.test|Host: b.test:80|Host:|Host: a,b|Host: a@b|Host: [::1]:8443|Host : a|host: a.test",
    "Content-Length: 5|Content-Length: 0|Content-Length: 5, 5|Content-Length: +5|Content-Length: 0x5|Content-Length: 1_0",
    "Content-Length: 05|Content-Length: 9223372036854775808|Content-Length: -1|Content-Length:|Content-Length: 5 5",
    "Content_Length: 7|Transfer-Encoding: chunked|Transfer-Encoding: Chunked|Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: identity|Transfer-Encoding: gzip, chunked|Transfer-Encoding: ,chunked|Transfer-Encoding:\x0bchunked",
    'Transfer-Encoding: \xa0chunked|Transfer-Encoding : chunked|Transfer-Encoding: "chunked"|transfer_encoding: chunked',
    "Transfer-Encoding: chunked;q=1|Connection: close|Connection: keep-alive|Connection: upgrade|Connection: host, te",
    "Connection: close, content-length|Connection: transfer-encoding|Connection: x-forwarded-for, cookie|Connection: ,",
    "Proxy-Connection: close|Keep-Alive: 1|Upgrade: websocket|Upgrade: h2c|Upgrade: websocket, h2c|Expect: 100-continue",
    "Expect: 100-Continue|Expect: x|TE: trailers|TE: trailers, gzip|Trailer: X|X: 1|X:|X: \t a \t|X: a\rb|X: a\nb|X: a\0b",
    "X: \xff\x80|X: \x85| X: folded|\tfolded|: nothing|no colon|X-Forwarded-For: 1.2.3.4|X_Forwarded_For: 6.6.6.6",
    "Forwarded: for=x|Via: 1.1 lockgate|Cookie: a=b|Sec-WebSocket-Key: AAAA|HTTP2-Settings: AAMAAABk|Proxy: http://evil",
    "Date: now|X-Fuzz-Id: 0|Max-Forwards: 0",
)
CHUNK_SIZES = _words(
    '0|1|5|05|000000005|5;a|5;a=b|5;a="b;c"|5 ;a|5;|5; a = b|0x5|+5|-5|5_0|F|ffffffffffffffff|10000000000000005|5\t',
    '7fffffffffffffff|5;a="\\"|5;a="b|5;\n|5;a=\r|00|0;x=y| 5|g',
)
WORDS = START_LINES + FIELDS + CHUNK_SIZES
LINE_ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b" \r\n", b"\0\r\n", b"")
PIECES = (b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b";", b",", b"%", b"..", b"/", b"\\", b'"', b"\x80", b"\xff")


def outline(entry: Any) -> object:
    """An entry of a trace without what differs from one input to the next: words and small numbers stay, content goes."""
    if isinstance(entry, tuple):
        return tuple(outline(part) for part in entry)
    if isinstance(entry, bytes):
        return len(entry).bit_length()
    if isinstance(entry, str):
        return re.sub(r"\d+", "#", entry[:80])
    return entry if isinstance(entry, int) and -2 < entry < 600 else type(entry)


def mutate(random: Random, data: bytes, other: bytes, steps: list[Callable[[Random, bytes, bytes], bytes]]) -> bytes:
    """Apply one to four of the steps."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        data = random.choice(steps)(random, data, other)
    return data


def _slice(random: Random, data: bytes, longest: int = 64) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.randrange(longest))


def change_byte(random: Random, data: bytes, other: bytes) -> bytes:
    """Another byte in one place."""
    if not data:
        return other
    at = random.randrange(len(data))
    value = random.choice((random.randrange(256), data[at] ^ 1 << random.randrange(8), (data[at] + 1) & 255))
    return data[:at] + bytes((value,)) + data[at + 1 :]


def insert_piece(random: Random, data: bytes, other: bytes) -> bytes:
    """A telling byte or word somewhere."""
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice((random.choice(PIECES), random.choice(WORDS), random.randbytes(3))) + data[at:]


def delete_slice(random: Random, data: bytes, other: bytes) -> bytes:
    """Some bytes less."""
    start, end = _slice(random, data, random.choice((2, 8, 64)))
    return data[:start] + data[end:]


def repeat_slice(random: Random, data: bytes, other: bytes) -> bytes:
    """Some bytes again, now and then very often."""
    start, end = _slice(random, data)
    times = random.choice((1, 1, 2, 40)) if len(data) < 20000 else 1
    return data[:end] + data[start:end] * times + data[end:]


def take_over(random: Random, data: bytes, other: bytes) -> bytes:
    """A part of another input."""
    at = random.randrange(len(data) + 1)
    start, end = _slice(random, other, 200)
    return data[:at] + other[start:end] + data[random.choice((at, min(len(data), at + end - start))) :]


def cut_off(random: Random, data: bytes, other: bytes) -> bytes:
    """The end is missing."""
    return data[: random.randrange(len(data) + 1)]


BYTE_STEPS = [change_byte, change_byte, insert_piece, delete_slice, repeat_slice, take_over, cut_off]


def mutate_bytes(random: Random, data: bytes, other: bytes) -> bytes:
    """Change bytes, knowing nothing about them."""
    return mutate(random, data, other, BYTE_STEPS)


# -- HTTP/1.1 ----------------------------------------------------------------------------------------------------------


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\r\n")


def insert_field(random: Random, data: bytes, other: bytes) -> bytes:
    """A field that matters, after any line."""
    lines = _lines(data)
    lines.insert(random.randrange(min(len(lines), 12)) + 1, random.choice(FIELDS))
    return b"\r\n".join(lines)


def repeat_line(random: Random, data: bytes, other: bytes) -> bytes:
    """A line of this input or of another one more, anywhere."""
    lines = _lines(data)
    source = random.choice((lines, _lines(other)))
    lines.insert(random.randrange(len(lines) + 1), random.choice(source))
    return b"\r\n".join(lines)


def delete_line(random: Random, data: bytes, other: bytes) -> bytes:
    """One line less."""
    lines = _lines(data)
    del lines[random.randrange(len(lines))]
    return b"\r\n".join(lines)


def change_line_end(random: Random, data: bytes, other: bytes) -> bytes:
    """One line ends in another way."""
    places = [match.start() for match in re.finditer(b"\r\n", data)]
    if not places:
        return data
    at = random.choice(places)
    return data[:at] + random.choice(LINE_ENDS) + data[at + 2 :]


def change_line(random: Random, data: bytes, other: bytes) -> bytes:
    """A line becomes a chunk header, a start line or a field."""
    lines = _lines(data)
    lines[random.randrange(len(lines))] = random.choice(random.choice((CHUNK_SIZES, CHUNK_SIZES, START_LINES, FIELDS)))
    return b"\r\n".join(lines)


def change_number(random: Random, data: bytes, other: bytes) -> bytes:
    """A number is off by a little or a lot."""
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return data
    found = random.choice(numbers)
    value = int(found[0][:18])
    text = random.choice((b"%d" % (value + 1), b"%d" % max(0, value - 1), b"0%d" % value, b"%x" % value, b"9" * 19))
    return data[: found.start()] + text + data[found.end() :]


def change_space(random: Random, data: bytes, other: bytes) -> bytes:
    """White space or case around a colon is not what it was."""
    places = [match.start() for match in re.finditer(rb":", data)]
    if not places:
        return data
    at = random.choice(places)
    colon = random.choice((b" :", b":", b":\t", b":  ", b"\t:", b":\x0b", b"::", b": \r\n "))
    start = max(0, at - 4)
    return data[:start] + random.choice((bytes.upper, bytes.lower, bytes))(data[start:at]) + colon + data[at + 1 :]


def append_other(random: Random, data: bytes, other: bytes) -> bytes:
    """Another input right behind this one: pipelined."""
    return data + other if len(data) < 20000 else data


HTTP_STEPS = [
    insert_field, insert_field, repeat_line, delete_line, change_line_end, change_line, change_number, change_space,
    append_other, *BYTE_STEPS,
]  # fmt: skip


def mutate_http(random: Random, data: bytes, other: bytes) -> bytes:
    """Change messages of HTTP/1.1."""
    return mutate(random, data, other, HTTP_STEPS)


# -- TLS ---------------------------------------------------------------------------------------------------------------


def records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a stream as (type and version, content); what is left over is the content of the last."""
    found = []
    while len(data) >= 5:
        end = 5 + int.from_bytes(data[3:5], "big")
        found.append((data[:3], data[5:end]))
        data = data[end:]
    return found


def join_records(parts: list[tuple[bytes, bytes]]) -> bytes:
    """The stream of these records."""
    return b"".join(head + len(content).to_bytes(2, "big") + content for head, content in parts if len(content) < 65536)


def cut_records(random: Random, data: bytes, other: bytes) -> bytes:
    """The same content in more records."""
    parts = records(data)
    if not parts:
        return data
    index = random.randrange(len(parts))
    head, content = parts[index]
    size = random.choice((1, 1, 2, 50, 1000, len(content) + 1))
    parts[index : index + 1] = [(head, content[at : at + size]) for at in range(0, len(content), size)]
    if not random.randrange(4):
        parts.insert(random.randrange(len(parts) + 1), (head, b""))
    return join_records(parts)


def insert_record(random: Random, data: bytes, other: bytes) -> bytes:
    """An alert, a change of cipher, rubbish or a record of another input in between."""
    parts = records(data)
    news = [(b"\x15\x03\x03", b"\x01\x00"), (b"\x15\x03\x03", b"\x02\x28"), (b"\x14\x03\x03", b"\x01"), *records(other)]
    news.append(
        (random.choice((b"\x16\x03\x01", b"\x17\x03\x03", b"\x18\x03\x03")), random.randbytes(random.randrange(80)))
    )
    parts.insert(random.randrange(len(parts) + 1), random.choice(news))
    return join_records(parts)


def _hello(data: bytes) -> tuple[bytes, list[tuple[int, bytes]]] | None:
    """(everything before the extensions, extensions) of a ClientHello in whole records."""
    message = b"".join(content for _, content in records(data))
    at = 38
    for width in (1, 2, 1):
        at += width + int.from_bytes(message[at : at + width], "big")
    rest = message[at + 2 :]
    extensions = []
    while len(rest) >= 4:
        end = 4 + int.from_bytes(rest[2:4], "big")
        extensions.append((int.from_bytes(rest[:2], "big"), rest[4:end]))
        rest = rest[end:]
    return (message[:at], extensions) if extensions else None


def _join_hello(before: bytes, extensions: list[tuple[int, bytes]]) -> bytes:
    """One record with the ClientHello, all lengths made right."""
    block = b"".join(kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body for kind, body in extensions)
    message = before[4:] + (len(block) & 0xFFFF).to_bytes(2, "big") + block
    message = b"\x01" + len(message).to_bytes(3, "big") + message
    parts = [(b"\x16\x03\x01", message[at : at + 16384]) for at in range(0, len(message), 16384)]
    return join_records(parts)


def server_name(name: bytes) -> bytes:
    """The body of a server_name extension."""
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    return len(entry).to_bytes(2, "big") + entry


def change_extensions(random: Random, data: bytes, other: bytes) -> bytes:
    """Extensions come twice, in another order, not at all or with another body; all lengths around them stay right."""
    taken = _hello(data)
    if taken is None:
        return data
    before, extensions = taken
    index = random.randrange(len(extensions))
    kind, body = extensions[index]
    names = (
        b"a.test",
        b"",
        b"A.Test",
        b"a.test.",
        b"a\0.test",
        b"1.2.3.4",
        b"xn--e1afmkfd",
        b"a" * 256,
        b"\xff",
        b"b.test",
    )
    protocols = (b"\x00\x03\x02h2", b"\x00\x0c\x02h2\x08http/1.1", b"\x00\x00", b"\x00\x01\x00", b"\x00\x05\x02h2", b"")
    match random.randrange(7):
        case 0:
            extensions.insert(random.randrange(len(extensions) + 1), (kind, body))
        case 1:
            del extensions[index]
        case 2:
            random.shuffle(extensions)
        case 3:
            extensions[index] = (kind, change_byte(random, body, b"\0"))
        case 4:
            extensions = [(0, server_name(random.choice(names))), *(pair for pair in extensions if pair[0] != 0)]
        case 5:
            extensions = [(16, random.choice(protocols)), *(pair for pair in extensions if pair[0] != 16)]
        case _:
            extensions.insert(
                0, (random.choice((0, 16, 21, 41, 43, 65281, 0x0A0A)), random.randbytes(random.randrange(9)))
            )
    return _join_hello(before, extensions)


TLS_STEPS = [change_extensions, change_extensions, cut_records, insert_record, *BYTE_STEPS]


def mutate_tls(random: Random, data: bytes, other: bytes) -> bytes:
    """Change a stream of TLS records that begins with a ClientHello."""
    return mutate(random, data, other, TLS_STEPS)
