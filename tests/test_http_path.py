"""`normalise`: one spelling per path, and refusal of what has no safe one."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.http.path import normalise

SAME = {
    b"/": b"/",
    b"*": b"*",
    b"/a/b.c;p=1/~d_e-f": b"/a/b.c;p=1/~d_e-f",
    b"/...": b"/...",
    b"/.a/..b/c..": b"/.a/..b/c..",
    b"/%61%2D%5f%7e%2e%30x": b"/a-_~.0x",
    b"/%3a%c3%a9%20%25": b"/%3A%C3%A9%20%25",
    b"/%252e%252e/": b"/%252e%252e/",
    b"//a///b": b"/a/b",
    b"///": b"/",
    b"/a//": b"/a/",
    b"/a/./b": b"/a/b",
    b"/./": b"/",
    b"/.": b"/",
    b"/a/.": b"/a/",
    b"/a/..": b"/",
    b"/a/b/..": b"/a/",
    b"/a/b/../": b"/a/",
    b"/a//../b": b"/b",
    b"/a/%2e%2E/b": b"/b",
    b"/a/%2e/b": b"/a/b",
    b"/a/.%2e/b": b"/b",
    b"/x/../admin": b"/admin",
    b"/%61dmin": b"/admin",
    b"/a;..": b"/a;..",
    b"/a?b/../c//%2f%zz\\;..#"[:-1]: b"/a?b/../c//%2f%zz\\;..",
    b"/a/..?q": b"/?q",
    b"/a/?": b"/a/?",
    b"/?/..": b"/?/..",
}
REFUSED = [
    b"", b"a", b"http://a/", b"**", b"?a", b"/..", b"/../", b"/../a", b"/a/../..", b"/a/../../b", b"/%2e%2e/a", b"/%2E./a",
    b"//../a", b"/./../a", b"/..;/a", b"/a/..;x=1/b", b"/a/.;/b", b"/a/%2e%2e;/b", b"/a/..%3b/b", b"/a/..;", b"/a/..%3B",
    b"/a\\b", b"/a%5cb", b"/a%5Cb", b"/..\\a", b"/a%2fb", b"/a%2Fb", b"/%00", b"/a%0ab", b"/a%0D", b"/%1f", b"/%7f", b"/%",
    b"/%1", b"/%g0", b"/%0g", b"/%-1", b"/a%2?b", b"/ ", b"/a b", b"/\xe9", b"/a#b", b"/\x00", b"/a\r\n", b"/%2e%2e%2fa",
]  # fmt: skip


@pytest.mark.parametrize("target", SAME)
def test_spelling(target: bytes) -> None:
    assert normalise(target) == SAME[target]


@pytest.mark.parametrize("target", REFUSED)
def test_refused(target: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        normalise(target)
    assert caught.value.fault is Fault.BAD_TARGET


def test_every_encoded_byte_is_decoded_kept_or_refused() -> None:
    for byte in range(256):
        target = b"/a%%%02xb" % byte
        if re.fullmatch(rb"[A-Za-z0-9._~-]", bytes((byte,))):
            assert normalise(target) == b"/a%cb" % byte
        elif byte < 32 or byte in (127, 0x5C, 0x2F):
            with pytest.raises(RemoteProtocolError):
                normalise(target)
        else:
            assert normalise(target) == b"/a%%%02Xb" % byte


def test_encoded_slash_when_asked_for() -> None:
    assert normalise(b"/a%2fb%2F", True) == b"/a%2Fb%2F"
    for hidden in (b"/a%2f..%2fb", b"/..%2fa", b"/a%2f..", b"/a/%2e%2e%2fb", b"/a%2f.;x%2fb"):
        with pytest.raises(RemoteProtocolError):
            normalise(hidden, True)


PIECES = st.sampled_from(
    [
        "/", ".", "..", "%2e", "%2E", "%2f", "%2F", ";", "?", "%", "%25", "%5c", "\\", "a", "B", "~", "-", "%61", "%7e", "%3b",
        "%c3%A9", "//", "/../", "/./", "%00", "&", "=", "+", ":", "@", "!", "*", "'", "(", ")", "[", "]", "|", "{", "}",
    ]
)  # fmt: skip
TARGETS = st.lists(PIECES, max_size=12).map(lambda pieces: ("/" + "".join(pieces)).encode())


def normal(target: bytes, allow: bool) -> bytes | None:
    try:
        return normalise(target, allow)
    except RemoteProtocolError:
        return None


@given(TARGETS, st.booleans())
def test_a_normal_target_stays(target: bytes, allow: bool) -> None:
    once = normal(target, allow)
    if once is not None:
        assert normal(once, allow) == once


@given(TARGETS, st.booleans())
def test_no_normal_path_holds_a_trick(target: bytes, allow: bool) -> None:
    once = normal(target, allow)
    if once is None:
        return
    path = once.partition(b"?")[0]
    assert path.startswith(b"/")
    assert b"//" not in path
    assert b"\\" not in path
    # What any backend would make of it by decoding, once or with parameters taken off, is no dot segment.
    for segment in unquote_to_bytes(path).split(b"/"):
        assert segment.split(b";")[0] not in (b".", b"..")
    assert allow or b"%2f" not in path.lower()


@given(TARGETS)
def test_the_query_is_left_alone(target: bytes) -> None:
    once = normal(target, False)
    if once is not None:
        assert once.partition(b"?")[1:] == target.partition(b"?")[1:]


@given(st.binary(max_size=12), st.booleans())
def test_rubbish_is_refused_in_order(data: bytes, allow: bool) -> None:
    normal(b"/" + data, allow)
