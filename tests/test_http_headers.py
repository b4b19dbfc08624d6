"""Header fields, as pairs and as a block: whoever asks gets the same of both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.events import Request
from lockgate.core.http.headers import NO_LENGTH, Headers, of_block
from lockgate.core.proxy.forward import MANAGED, ClientInfo, forward_plain, forward_request, managed_names
from lockgate.core.proxy.policy import ForwardRules

NAMES = st.one_of(
    st.sampled_from([b"a", b"a-b", b"accept", b"accept-language", b"x_y", b"x.y", *sorted(MANAGED)]),
    st.text("abcxyz-_.", min_size=1, max_size=70).map(str.encode),
)
VALUES = st.one_of(
    st.just(b""), st.text("ab: ,\t\xe4", max_size=8).map(lambda text: text.strip(" \t").encode("latin-1"))
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def block_of(pairs: list[tuple[bytes, bytes]]) -> Headers:
    return of_block(b"".join([b"%b: %b\r\n" % pair for pair in pairs]), NO_LENGTH, False)


@given(PAIRS, NAMES)
def test_a_block_is_read_like_pairs(pairs: list[tuple[bytes, bytes]], name: bytes) -> None:
    block, plain = block_of(pairs), Headers(pairs)
    assert block.get(name) == plain.get(name)
    assert block.get(name, b"none") == plain.get(name, b"none")
    assert block.get_all(name) == plain.get_all(name)
    assert (name in block) == (name in plain)
    assert len(block) == len(plain)
    assert list(block) == list(plain) == pairs
    assert block.copy() == block == plain
    assert repr(block) == repr(plain)
    assert block.block is not None  # nobody has changed anything, so it can still be sent as it is


@given(PAIRS, NAMES, VALUES)
def test_a_block_is_changed_like_pairs(pairs: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    for change in ("add", "set"):
        block, plain = block_of(pairs), Headers(pairs)
        getattr(block, change)(name, value)
        getattr(plain, change)(name, value)
        assert block == plain
        assert block.block is None
    block, plain = block_of(pairs), Headers(pairs)
    block.remove(name)
    plain.remove(name)
    assert block == plain
    block.pairs.append((name, value))
    assert block.pairs[-1] == (name, value)


@pytest.mark.parametrize("name", [b"x: y", b"a: 1\r\nb", b"a:", b":", b"", b"a: 1\r\n"])
def test_what_is_no_name_is_not_found(name: bytes) -> None:
    headers = block_of([(b"a", b"1"), (b"b", b"2"), (b"x", b"y:z")])
    assert headers.get(name) is None
    assert name not in headers


@given(PAIRS, st.booleans())
def test_plain_forwarding_tells_who_the_client_is_too(pairs: list[tuple[bytes, bytes]], own: bool) -> None:
    client = ClientInfo("192.0.2.7", 4711, True, ())
    if own:
        client.managed = managed_names(frozenset([b"x-client-subject"]))
        pairs = [*pairs, (b"x-client-subject", b"forged")] if len(pairs) % 2 else pairs
    client.tell(((b"client-cert", b":AA==:"), (b"x-client-subject", b"CN=a")))
    quick = Request(b"GET", b"/", b"a.test", block_of(pairs))
    slow = forward_request(Request(b"GET", b"/", b"a.test", Headers(pairs)), client, ForwardRules()).headers
    assert not own or slow.get_all(b"x-client-subject") == [b"CN=a"]
    if forward_plain(quick, client):
        assert quick.headers == slow
    else:
        assert list(quick.headers) == pairs


@given(
    PAIRS,
    st.sampled_from([b"a.test", b"a.test:8443", b"[2001:db8::1]", b"[::1]:80", b""]),
    st.booleans(),
    st.booleans(),
)
def test_plain_forwarding_is_forwarding(
    pairs: list[tuple[bytes, bytes]], authority: bytes, https: bool, unix: bool
) -> None:
    """Where `forward_plain` says that there is nothing to look at, a look at each field changes nothing."""
    client = ClientInfo("" if unix else "192.0.2.7", 4711, https, ())
    quick = Request(b"GET", b"/", authority, block_of(pairs))
    slow = Request(b"GET", b"/", authority, Headers(pairs))
    if forward_plain(quick, client):
        assert quick.headers.block is not None
        assert quick.headers == forward_request(slow, client, ForwardRules()).headers
    else:
        assert list(quick.headers) == pairs
