"""What a backend is told: nothing that a client could have made up."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.events import Request, Response
from lockgate.core.http.fields import allowed_in_trailers
from lockgate.core.http.headers import NO_LENGTH, Headers, of_block
from lockgate.core.proxy.forward import (
    CHAIN,
    MANAGED,
    ClientInfo,
    client_address,
    forward_plain,
    forward_request,
    forward_response,
)
from lockgate.core.proxy.policy import ForwardRules, Policy

NETS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
STRANGER = ClientInfo("192.0.2.7", 4711, True, NETS)
FRIEND = ClientInfo("10.1.2.3", 4711, True, NETS)


def request(*pairs: tuple[bytes, bytes], authority: bytes = b"example.com") -> Request:
    return Request(b"GET", b"/x", authority, Headers(pairs))


def told(client: ClientInfo, *pairs: tuple[bytes, bytes], rules: ForwardRules | None = None) -> dict[bytes, bytes]:
    out = forward_request(request(*pairs), client, rules or ForwardRules())
    assert len({name for name, _ in out.headers}) == len(out.headers), "a field twice"
    return dict(out.headers)


def test_a_stranger_gets_his_own_address_only() -> None:
    out = told(STRANGER, *((name, b"forged") for name in MANAGED))
    assert out == {
        b"x-forwarded-for": b"192.0.2.7",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"example.com",
        b"x-forwarded-port": b"443",
    }


@pytest.mark.parametrize("name", sorted(name for name in MANAGED if b"-" in name))
@pytest.mark.parametrize("fold", [b"_", b"."])
@pytest.mark.parametrize("rule", ["drop", "keep"])
def test_twins_of_managed_names_are_dropped(name: bytes, fold: bytes, rule: str) -> None:
    twin = name.replace(b"-", fold)
    out = told(STRANGER, (twin, b"forged"), rules=ForwardRules(underscore_fields=rule))
    assert b"forged" not in out.values()


@pytest.mark.parametrize("name", sorted(MANAGED))
@pytest.mark.parametrize("fold", [b"-", b"_", b"."])
def test_managed_names_cannot_come_in_as_trailers_either(name: bytes, fold: bytes) -> None:
    """A backend that merges trailers into the head's fields would take them for ours."""
    assert not allowed_in_trailers(name.replace(b"-", fold))


def test_underscore_rules() -> None:
    pair = (b"some_thing", b"1")
    assert b"some_thing" not in told(STRANGER, pair)
    assert told(STRANGER, pair, rules=ForwardRules(underscore_fields="keep"))[b"some_thing"] == b"1"
    with pytest.raises(RemoteProtocolError, match="underscore") as caught:
        told(STRANGER, pair, rules=ForwardRules(underscore_fields="refuse"))
    assert caught.value.status_hint == 400


def test_a_trusted_hop_is_believed_and_extended() -> None:
    out = told(
        FRIEND,
        (b"x-forwarded-for", b"198.51.100.9"),
        (b"x-forwarded-for", b"10.9.9.9"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"front.example"),
        (b"x-real-ip", b"198.51.100.9"),
        (b"forwarded", b"for=198.51.100.9"),
        (b"client-cert", b":forged:"),
    )
    assert out == {
        b"x-forwarded-for": b"198.51.100.9, 10.9.9.9, 10.1.2.3",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"front.example",
        b"x-forwarded-port": b"443",
        b"x-real-ip": b"198.51.100.9",
        b"forwarded": b"for=198.51.100.9",
    }


@pytest.mark.parametrize(
    ("client", "lines", "address"),
    [
        (STRANGER, [b"1.1.1.1"], "192.0.2.7"),
        (FRIEND, [], "10.1.2.3"),
        (FRIEND, [b"1.1.1.1, 2.2.2.2"], "2.2.2.2"),
        (FRIEND, [b"1.1.1.1", b"10.5.5.5"], "1.1.1.1"),
        (FRIEND, [b"rubbish, 10.5.5.5"], "10.5.5.5"),
        (FRIEND, [b"2001:db8::1"], "2001:db8::1"),
        (ClientInfo("::ffff:10.1.2.3", 1, True, NETS), [b"1.1.1.1"], "1.1.1.1"),
    ],
)
def test_client_address_reads_right_to_left_past_trusted_hops(
    client: ClientInfo, lines: list[bytes], address: str
) -> None:
    asked = request(*((b"x-forwarded-for", line) for line in lines))
    assert client_address(asked, client, NETS) == address


@pytest.mark.parametrize(
    ("authority", "port"),
    [(b"a.test", b"443"), (b"a.test:8443", b"8443"), (b"[::1]", b"443"), (b"[::1]:8443", b"8443")],
)
def test_forwarded_port(authority: bytes, port: bytes) -> None:
    out = forward_request(request(authority=authority), STRANGER, ForwardRules())
    assert out.headers.get(b"x-forwarded-port") == port


def test_forwarded_by_choice() -> None:
    rules = ForwardRules(x_forwarded=False, forwarded=True)
    assert told(STRANGER, rules=rules) == {b"forwarded": b"for=192.0.2.7;host=example.com;proto=https"}
    v6 = ClientInfo("2001:db8::1", 1, False, NETS)
    out = forward_request(request(authority=b"a.test:8080"), v6, rules)
    assert out.headers.get(b"forwarded") == b'for="[2001:db8::1]";host="a.test:8080";proto=http'
    chained = told(FRIEND, (b"forwarded", b"for=x"), rules=rules)
    assert chained[b"forwarded"] == b"for=x, for=10.1.2.3;host=example.com;proto=https"


def test_without_rules_a_trusted_hop_passes_unchanged() -> None:
    rules = ForwardRules(x_forwarded=False)
    assert told(FRIEND, (b"x-forwarded-for", b"1.1.1.1"), rules=rules) == {b"x-forwarded-for": b"1.1.1.1"}
    assert told(STRANGER, (b"x-forwarded-for", b"1.1.1.1"), rules=rules) == {}


@pytest.mark.parametrize(("version", "said"), [(b"1.0", b"1.0"), (b"1.1", b"1.1"), (b"2", b"2.0")])
def test_via_names_the_version_that_was_received(version: bytes, said: bytes) -> None:
    response = Response(200, version=version, headers=Headers([]))
    forward_response(response, ForwardRules(via=True))
    assert list(response.headers) == [(b"via", said + b" lockgate")]


def test_via_is_added_both_ways_and_stops_loops() -> None:
    rules = ForwardRules(via=True, x_forwarded=False)
    out = told(STRANGER, (b"via", b"1.0 fred"), rules=rules)
    assert out == {b"via": b"1.0 fred, 1.1 lockgate"}
    with pytest.raises(RemoteProtocolError, match="before"):
        told(STRANGER, (b"via", out[b"via"]), rules=rules)
    response = forward_response(Response(200, Headers([(b"a", b"b")])), rules)
    assert list(response.headers) == [(b"a", b"b"), (b"via", b"1.1 lockgate")]


def test_proxies_of_other_names_behind_one_another_are_no_loop() -> None:
    inner = ForwardRules(via=True, via_name="inner", x_forwarded=False)
    said = told(STRANGER, (b"via", b"1.1 lockgate"), rules=inner)[b"via"]
    assert said == b"1.1 lockgate, 1.1 inner"
    with pytest.raises(RemoteProtocolError, match="before"):
        told(STRANGER, (b"via", said), rules=inner)
    response = forward_response(Response(200, Headers([])), inner)
    assert list(response.headers) == [(b"via", b"1.1 inner")]


@pytest.mark.parametrize("name", ["", "a b", "a,b", "é", "a:1", 1])
def test_names_that_cannot_stand_in_via(name: Any) -> None:
    with pytest.raises(ValueError, match="via_name"):
        Policy.build(backends=[], routes=[], forward=ForwardRules(via_name=name))


def test_ordinary_fields_keep_their_order() -> None:
    pairs = [(b"b", b"1"), (b"a", b"2"), (b"b", b"3")]
    out = forward_request(request(*pairs), STRANGER, ForwardRules(x_forwarded=False))
    assert list(out.headers) == pairs


def test_chain_is_part_of_what_is_managed() -> None:
    assert CHAIN <= MANAGED


def test_the_same_block_again_is_told_what_holds_now() -> None:
    client = ClientInfo("192.0.2.7", 4711, True, ())
    blocks = [b"accept: */*\r\n", b"x: 1\r\n", b"x-real-ip: 1\r\n"]
    authorities = [b"a.test", b"b.test"]

    def check(block: bytes, authority: bytes) -> None:
        plain = Request(b"GET", b"/", authority, of_block(block, NO_LENGTH, False))
        field_by_field = Request(b"GET", b"/", authority, of_block(block, NO_LENGTH, False))
        forward_request(field_by_field, client, ForwardRules())
        if forward_plain(plain, client):
            assert sorted(plain.headers) == sorted(field_by_field.headers)
        else:
            assert block is blocks[2]

    for block in [*blocks, *blocks]:
        for authority in [*authorities, authorities[1]]:
            check(block, authority)
    check(blocks[0], authorities[0])
    client.tell(((b"client-cert", b":abc:"),))
    check(blocks[0], authorities[0])
