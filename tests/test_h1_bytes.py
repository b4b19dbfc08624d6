"""All 256 bytes in every position class of a message: which pass is written down here, independently of the parser."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from support_h1 import ask, fault_of, serve, single_bytes, whole

ALPHANUMERIC = set((string.ascii_letters + string.digits).encode())
TOKEN = ALPHANUMERIC | set(b"!#$%&'*+-.^_`|~")
TEXT = set(range(0x20, 0x7F)) | set(range(0x80, 0x100)) | {9}
TARGET = set(range(0x21, 0x7F)) - set(b"#<>")
SPACE = {32, 9}
HEX = set(string.hexdigits.encode())

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

REQUESTS: dict[str, tuple[Callable[[bytes], bytes], set[int]]] = {
    "first byte": (lambda b: b + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", TOKEN),
    "inside the method": (lambda b: b"G" + b + b"T / HTTP/1.1\r\nHost: a\r\n\r\n", TOKEN),
    "instead of the first space": (lambda b: b"GET" + b + b"/ HTTP/1.1\r\nHost: a\r\n\r\n", {32}),
    "first byte of the target": (lambda b: b"GET " + b + b" HTTP/1.1\r\nHost: a\r\n\r\n", {47}),
    "inside the path": (lambda b: b"GET /a" + b + b"b HTTP/1.1\r\nHost: a\r\n\r\n", TARGET),
    "inside the query": (lambda b: b"GET /?a" + b + b"b HTTP/1.1\r\nHost: a\r\n\r\n", TARGET),
    "instead of the second space": (lambda b: b"GET /" + b + b"HTTP/1.1\r\nHost: a\r\n\r\n", {32}),
    "before the version": (lambda b: b"GET / " + b + b"HTTP/1.1\r\nHost: a\r\n\r\n", set()),
    "major version": (lambda b: b"GET / HTTP/" + b + b".1\r\nHost: a\r\n\r\n", {49}),
    "dot of the version": (lambda b: b"GET / HTTP/1" + b + b"1\r\nHost: a\r\n\r\n", {46}),
    "minor version": (lambda b: b"GET / HTTP/1." + b + b"\r\nHost: a\r\n\r\n", {48, 49}),
    "after the version": (lambda b: b"GET / HTTP/1.1" + b + b"\r\nHost: a\r\n\r\n", set()),
    "instead of CR": (lambda b: b"GET / HTTP/1.1" + b + b"\nHost: a\r\n\r\n", {13}),
    "instead of LF": (lambda b: b"GET / HTTP/1.1\r" + b + b"Host: a\r\n\r\n", {10}),
    "before a field name": (lambda b: HEAD + b + b"X: y\r\n\r\n", TOKEN),
    "inside a field name": (lambda b: HEAD + b"X" + b + b"Z: y\r\n\r\n", TOKEN | {58}),
    "before the colon": (lambda b: HEAD + b"X" + b + b": y\r\n\r\n", TOKEN | {58}),
    "instead of the colon": (lambda b: HEAD + b"X" + b + b" y\r\n\r\n", {58}),
    "after the colon": (lambda b: HEAD + b"X:" + b + b"y\r\n\r\n", TEXT),
    "inside a value": (lambda b: HEAD + b"X: y" + b + b"z\r\n\r\n", TEXT),
    "after a value": (lambda b: HEAD + b"X: y" + b + b"\r\n\r\n", TEXT),
    "instead of CR after a field": (lambda b: HEAD + b"X: y" + b + b"\n\r\n", {13}),
    "instead of CR of the empty line": (lambda b: HEAD + b + b"\n", {13}),
    "before the empty line": (lambda b: HEAD + b + b"\r\n", set()),
    "inside host": (lambda b: b"GET / HTTP/1.1\r\nHost: a" + b + b"b\r\n\r\n", ALPHANUMERIC | set(b"-._~")),
    "before host": (lambda b: b"GET / HTTP/1.1\r\nHost:" + b + b"b\r\n\r\n", ALPHANUMERIC | set(b"-_~") | SPACE),
    "port": (lambda b: b"GET / HTTP/1.1\r\nHost: a:1" + b + b"\r\n\r\n", set(b"0123456789") | SPACE),
    "before a length": (lambda b: HEAD + b"Content-Length:" + b + b"0\r\n\r\n", {48} | SPACE),
    "inside a length": (lambda b: HEAD + b"Content-Length: 0" + b + b"0\r\n\r\n", {48}),
    "after a length": (lambda b: HEAD + b"Content-Length: 0" + b + b"\r\n\r\n", {48} | SPACE),
    "before chunked": (lambda b: HEAD + b"Transfer-Encoding:" + b + b"chunked\r\n\r\n0\r\n\r\n", SPACE),
    "after chunked": (lambda b: HEAD + b"Transfer-Encoding: chunked" + b + b"\r\n\r\n0\r\n\r\n", SPACE),
    "before a chunk size": (lambda b: CHUNKED + b + b"0\r\n\r\n", {48}),
    "after a chunk size": (lambda b: CHUNKED + b"0" + b + b"\r\n\r\n", {48}),
    "instead of CR of a chunk header": (lambda b: CHUNKED + b"0" + b + b"\n\r\n", {13}),
    "instead of LF of a chunk header": (lambda b: CHUNKED + b"0\r" + b + b"\r\n", {10}),
    "extension separator": (lambda b: CHUNKED + b"0" + b + b"a\r\n\r\n", set(b";")),
    "extension name": (lambda b: CHUNKED + b"0;a" + b + b"\r\n\r\n", TOKEN),
    "extension value": (lambda b: CHUNKED + b"0;a=b" + b + b"\r\n\r\n", TOKEN),
    "quoted extension value": (lambda b: CHUNKED + b'0;a="' + b + b'"\r\n\r\n', TEXT - set(b'"\\')),
    "escaped in an extension value": (lambda b: CHUNKED + b'0;a="\\' + b + b'"\r\n\r\n', TEXT),
    "instead of CR after content": (lambda b: CHUNKED + b"1\r\nx" + b + b"\n0\r\n\r\n", {13}),
    "instead of LF after content": (lambda b: CHUNKED + b"1\r\nx\r" + b + b"0\r\n\r\n", {10}),
    "inside content": (lambda b: CHUNKED + b"1\r\n" + b + b"\r\n0\r\n\r\n", set(range(256))),
    "trailer name": (lambda b: CHUNKED + b"0\r\nX" + b + b"Y: z\r\n\r\n", TOKEN | {58}),
    "trailer value": (lambda b: CHUNKED + b"0\r\nX: y" + b + b"z\r\n\r\n", TEXT),
    "instead of CR of the last line": (lambda b: CHUNKED + b"0\r\n" + b + b"\n", {13}),
}

RESPONSES: dict[str, tuple[Callable[[bytes], bytes], set[int]]] = {
    "first byte": (lambda b: b + b"TTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {72}),
    "after the version": (lambda b: b"HTTP/1.1" + b + b"200 OK\r\nContent-Length: 0\r\n\r\n", {32}),
    "first digit": (lambda b: b"HTTP/1.1 " + b + b"98 OK\r\nContent-Length: 0\r\n\r\n", set(b"12345")),
    "second digit": (lambda b: b"HTTP/1.1 2" + b + b"0 OK\r\nContent-Length: 0\r\n\r\n", set(b"0123456789")),
    "third digit": (lambda b: b"HTTP/1.1 20" + b + b" OK\r\nContent-Length: 0\r\n\r\n", set(b"0123456789")),
    "after the status": (lambda b: b"HTTP/1.1 200" + b + b"OK\r\nContent-Length: 0\r\n\r\n", {32}),
    "reason": (lambda b: b"HTTP/1.1 200 O" + b + b"K\r\nContent-Length: 0\r\n\r\n", TEXT),
    "value": (lambda b: b"HTTP/1.1 200 OK\r\nX: y" + b + b"z\r\nContent-Length: 0\r\n\r\n", TEXT),
    "length": (lambda b: b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b + b"\r\n\r\n", set(b"0123456789") | SPACE),
}


@pytest.mark.parametrize("position", REQUESTS)
def test_in_a_request(position: str) -> None:
    build, passing = REQUESTS[position]
    for feeding in (whole, single_bytes):
        passed = set()
        for byte in range(256):
            transcript = serve(feeding(build(bytes((byte,)))), eof=True)
            if fault_of(transcript) is None and transcript[0][0] == "request":
                passed.add(byte)
        assert passed == passing


@pytest.mark.parametrize("position", RESPONSES)
def test_in_a_response(position: str) -> None:
    build, passing = RESPONSES[position]
    for feeding in (whole, single_bytes):
        passed = set()
        for byte in range(256):
            transcript = ask(feeding(build(bytes((byte,)))))
            if fault_of(transcript) is None and transcript and transcript[0][0] in ("response", "informational"):
                passed.add(byte)
        assert passed == passing
