"""`parse_authority`: hosts and ports by one strict rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.http.authority import parse_authority

GOOD = {
    b"example.com": (b"example.com", None),
    b"EXAMPLE.Com:443": (b"example.com", 443),
    b"example.com.": (b"example.com", None),
    b"example.com.:8443": (b"example.com", 8443),
    b"a": (b"a", None),
    b"a_b-c~d.e": (b"a_b-c~d.e", None),
    b"xn--bcher-kva.example": (b"xn--bcher-kva.example", None),
    b"127.0.0.1:0": (b"127.0.0.1", 0),
    b"a:00080": (b"a", 80),
    b"a:65535": (b"a", 65535),
    b"[::1]": (b"[::1]", None),
    b"[2001:DB8:0:0::1]:8443": (b"[2001:db8::1]", 8443),
    b"[64:ff9b::192.0.2.33]": (b"[64:ff9b::c000:221]", None),
    b"a" * 255: (b"a" * 255, None),
}
BAD = [
    b"", b".", b"..", b".a", b"a..", b"a..b", b":", b":80", b"a:", b"a:b", b"a:-1", b"a:+1", b"a: 1", b"a:1 ", b"a:65536",
    b"a:000080", b"a:99999", b"a:80:80", b"a,b", b"a;b", b"a b", b" a", b"a ", b"a\t", b"a/", b"/a", b"a?b", b"a#b", b"u@a",
    b"u:p@a", b"@a", b"a@", b"a%41", b"a%", b"a!", b"a$b", b"a&b", b"(a)", b"a*", b"*.a", b"a+b", b"a=b", b"a'b", b'a"b',
    b"a\\b", b"a\x00", b"a\r\n", b"\xe9", b"a\xad", b"::1", b"[", b"]", b"[]", b"[::1", b"::1]", b"[::1]]", b"[[::1]]",
    b"[::1]a", b"[::1]:", b"[::1]:x", b"[::1%eth0]", b"[::1%25eth0]", b"[fe80::1:]", b"[v1.a]", b"[127.0.0.1]", b"[:::1]",
    b"[12345::]", b"[::1]:80:80", b"a[::1]", b"a" * 256, b"[1:2:3:4:5:6:7:8:9]", b"[/::1]",
]  # fmt: skip


@pytest.mark.parametrize("authority", GOOD)
def test_good(authority: bytes) -> None:
    assert parse_authority(authority) == GOOD[authority]


@pytest.mark.parametrize("authority", BAD)
def test_bad(authority: bytes) -> None:
    assert parse_authority(authority) is None


def test_every_byte_in_a_name() -> None:
    passed = {byte for byte in range(256) if parse_authority(b"a%cb" % byte) is not None}
    assert passed == set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@given(st.text("aA.-:[]1f@,%", max_size=16).map(str.encode))
def test_the_host_of_a_host_is_itself(authority: bytes) -> None:
    parsed = parse_authority(authority)
    if parsed is not None:
        host, port = parsed
        assert parse_authority(host) == (host, None)
        assert port is None or parse_authority(b"%b:%d" % (host, port)) == (host, port)


@given(st.binary(max_size=24))
def test_rubbish_is_no_authority(data: bytes) -> None:
    assert parse_authority(b"a," + data) is None
