"""Which clients a rule lets in, and what backends are told of them."""

from __future__ import annotations

import base64
import re
import ssl
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_mtls import certificates, client_pem, clients, der, dns, email, uri, web

from lockgate.core.proxy.client_rule import ClientRule, Pattern, parse_pattern
from lockgate.core.proxy.forward import MANAGED
from lockgate.core.proxy.statements import MAX_SIZE, check_forward
from lockgate.core.tls.peer import PeerCertificate


def peer(*names: object, **settings: object) -> PeerCertificate:
    pem = client_pem(*names, **settings)  # type: ignore[arg-type]
    return PeerCertificate((*(der(one) for one in certificates(pem)), der(clients().root)))


WEB = PeerCertificate((*(der(one) for one in certificates(web())), der(clients().root)))


def allows(pattern: str, *names: object, **settings: object) -> bool:
    refusal, _ = ClientRule("required", (parse_pattern(pattern),)).judge(peer(*names, **settings))
    return not refusal


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("spiffe://prod/web", uri("spiffe://prod/web"), True),
        ("spiffe://prod/web", uri("spiffe://prod/web/x"), False),
        ("spiffe://prod/web", uri("spiffe://prod/Web"), False),
        ("uri:spiffe://prod/web", uri("spiffe://prod/web"), True),
        ("uri:urn:example:1", uri("urn:example:1"), True),
        ("spiffe://prod/*", uri("spiffe://prod/web"), True),
        ("spiffe://prod/*", uri("spiffe://prod/ns/a/sa/b"), True),
        ("spiffe://prod/*", uri("spiffe://prod/"), False),
        ("spiffe://prod/*", uri("spiffe://prod"), False),
        ("spiffe://prod/*", uri("spiffe://production/web"), False),
        ("spiffe://prod/*", uri("spiffe://prod.evil/web"), False),
        ("spiffe://prod/*", uri("spiffe://prod/../dev/web"), False),
        ("spiffe://prod/*", uri("spiffe://prod/./web"), False),
        ("spiffe://prod/*", uri("spiffe://prod/web/.."), False),
        ("spiffe://prod/*", uri("spiffe://prod//web"), False),
        ("spiffe://prod/*", uri("spiffe://prod/web/"), False),
        ("spiffe://prod/*", uri("spiffe://prod/%2e%2e/web"), False),
        ("spiffe://prod/*", uri("spiffe://prod/web?x=1"), False),
        ("spiffe://prod/*", uri("spiffe://prod/web#x"), False),
        ("spiffe://prod/*", uri("spiffe://prod/..web"), True),
        ("spiffe://prod/api/*", uri("spiffe://prod/api/web"), True),
        ("spiffe://prod/api/*", uri("spiffe://prod/web"), False),
        ("dns:web.example", dns("web.example"), True),
        ("dns:WEB.example", dns("web.EXAMPLE"), True),
        ("dns:web.example", dns("xweb.example"), False),
        ("dns:*.example", dns("web.example"), True),
        ("dns:*.example", dns("a.web.example"), False),
        ("dns:*.example", dns("example"), False),
        ("dns:*.example", dns("*.example"), False),
        ("dns:*.example", dns("web.example.evil"), False),
        ("email:a@example.com", email("a@EXAMPLE.com"), True),
        ("email:a@example.com", email("A@example.com"), False),
        ("email:a@example.com", email("b@example.com"), False),
    ],
)
def test_patterns(pattern: str, name: object, fits: bool) -> None:
    assert allows(pattern, name) is fits


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("spiffe://prod/web", dns("spiffe://prod/web")),
        ("spiffe://prod/web", email("spiffe://prod/web")),
        ("dns:web.example", uri("web.example")),
        ("dns:web.example", email("root@web.example")),
        ("dns:127.0.0.1", uri("https://127.0.0.1")),
        ("email:a@example.com", uri("mailto:a@example.com")),
        ("email:a@example.com", dns("a@example.com")),
    ],
)
def test_name_check_wrong_san_type(pattern: str, name: object) -> None:
    """A name counts for its own type only (CVE-2022-21656)."""
    assert not allows(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("dns:web.example", dns("web.example\0.evil.example")),
        ("dns:*.example", dns("web\0.example")),
        ("spiffe://prod/web", uri("spiffe://prod/web\0")),
        ("spiffe://prod/*", uri("spiffe://prod/web\0/x")),
        ("email:a@example.com", email("a@example.com\0.evil")),
    ],
)
def test_name_check_nul_in_san(pattern: str, name: object) -> None:
    """A NUL ends no name (CVE-2026-47778), and who has one has no name at all."""
    assert not allows(pattern, name)
    possible = {"dns": dns("web.example"), "spiffe": uri("spiffe://prod/web"), "email": email("a@example.com")}
    assert not allows(pattern, possible[pattern.partition(":")[0]], name)
    assert ClientRule("required").judge(peer(name))[0], "with no rules at all either"


def test_common_names_count_for_nothing() -> None:
    assert not allows("dns:web.example", common_name="web.example")
    assert not allows("spiffe://prod/web", common_name="spiffe://prod/web")


def test_the_certificate_itself() -> None:
    digest = WEB.sha256
    for text in (digest, digest.upper(), ":".join(digest[i : i + 2] for i in range(0, 64, 2))):
        assert ClientRule("required", (parse_pattern(f"sha256:{text}"),)).judge(WEB)[0] == ""
    assert not allows(f"sha256:{digest}", uri("spiffe://prod/web"))


def test_any_pattern_suffices_and_none_means_all() -> None:
    rule = ClientRule("required", (parse_pattern("dns:nobody.example"), parse_pattern("spiffe://prod/*")))
    assert rule.judge(WEB)[0] == ""
    assert rule.judge(peer(uri("spiffe://dev/web")))[0] == "the client certificate is not among those allowed"
    assert ClientRule("required").judge(peer())[0] == ""


def test_without_a_certificate() -> None:
    allow = (parse_pattern("spiffe://prod/*"),)
    assert ClientRule("optional", allow, ("client-cert",)).judge(None) == ("", ())
    assert ClientRule("required", allow).judge(None) == ("no client certificate", ())
    assert ClientRule("anything else", allow).judge(None)[0]


@pytest.mark.parametrize(
    "text",
    [
        "", "prod", "dns:", "dns:*", "dns:*.", "dns:a.*.b", "dns:a*.b", "dns:**.b", "dns:a b", "dns:a\0", "dns:bücher.example",
        "uri:", "uri:x", "spiffe://*/web", "spiffe://prod/*/web", "spiffe://prod/a*", "spiffe://prod*", "spiffe:*", "uri:/*",
        "spiffe:///*", "spiffe://prod/../*", "spiffe://prod//*", "uri:urn:a/*", "spiffe://prod/ä", "email:a", "email:*@b.c",
        "email:", "sha256:", "sha256:abc", "sha256:" + "g" * 64, "sha256:" + "0" * 65, "ip:127.0.0.1", "DNS:a.b", "cn:web",
    ],
)  # fmt: skip
def test_impossible_patterns(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_pattern(text)


@given(st.text(max_size=60))
def test_patterns_are_made_or_refused(text: str) -> None:
    for prefix in ("", "dns:", "uri:", "spiffe://", "email:", "sha256:"):
        try:
            assert isinstance(parse_pattern(prefix + text), Pattern)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "text",
    ["dns:a.example", "dns:*.a.example", "email:a@b.example", "spiffe://prod/*", "spiffe://prod/web", "uri:urn:x:1",
     "uri:https://a.example/x/*", "sha256:" + "0a" * 32],
)  # fmt: skip
def test_a_pattern_can_be_shown_as_it_is_written(text: str) -> None:
    assert str(parse_pattern(text)) == text


SEGMENT = st.text("abz.-_%?#/*\0 é", max_size=6)


@given(st.lists(SEGMENT, max_size=4).map("/".join))
def test_below_a_uri_is_below_it(rest: str) -> None:
    """What a `*` fits has the segments of SPIFFE and no others, however it is built."""
    pattern = parse_pattern("spiffe://prod/*")
    if pattern._fits_uri(f"spiffe://prod/{rest}"):
        segments = rest.split("/")
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", segment) for segment in segments)
        assert not {".", ".."} & set(segments)


# -- what backends are told ------------------------------------------------------------------------------------------


def told(*forward: str, who: PeerCertificate = WEB) -> dict[str, str]:
    refusal, fields = ClientRule("required", (), forward).judge(who)
    assert not refusal
    return {name.decode(): value.decode("ascii") for name, value in fields}


def byte_sequences(value: str) -> list[bytes]:
    items = [re.fullmatch(r":([A-Za-z0-9+/]*=*):", item) for item in value.split(", ")]
    return [base64.b64decode(item[1], validate=True) for item in items if item is not None]


def test_client_cert() -> None:
    """RFC 9440: the leaf, and the others in the order of TLS, as byte sequences."""
    fields = told("client-cert")
    assert byte_sequences(fields["client-cert"]) == [WEB.der]
    assert byte_sequences(fields["client-cert-chain"]) == list(WEB.chain[1:])
    alone = PeerCertificate((WEB.der,))
    assert "client-cert-chain" not in told("client-cert", who=alone)


def test_xfcc() -> None:
    names = (uri("spiffe://prod/a"), uri("https://x.example/a,b;c=d"), dns("a.example"), dns("b.example"))
    who = peer(*names, common_name='ev"il,\\')
    assert told("xfcc", who=who)["x-forwarded-client-cert"] == (
        f'Hash={who.sha256};Subject="CN=ev\\22il\\2C\\5C";URI=spiffe://prod/a;URI="https://x.example/a,b;c=d";'
        "DNS=a.example;DNS=b.example"
    )


def test_xfcc_with_the_certificate() -> None:
    value = told("xfcc-cert")["x-forwarded-client-cert"]
    found = re.search(r';Cert="([A-Za-z0-9._~%-]+)";', value)
    assert found is not None
    assert ssl.PEM_cert_to_DER_cert(unquote(found[1])) == WEB.der


def test_own_fields() -> None:
    who = peer(uri("spiffe://prod/a,b"), dns("a.example"), email("a@b.example"), common_name="web")
    fields = told("subject:X-Client-Subject", "sha256:X-Auth-Hash", "san:X-SSL-Client-SAN", who=who)
    assert fields == {
        "x-client-subject": "CN=web",
        "x-auth-hash": who.sha256,
        "x-ssl-client-san": "dns:a.example, uri:spiffe://prod/a%2Cb, email:a@b.example",
    }


@pytest.mark.parametrize("forward", ["client-cert", "xfcc-cert"])
def test_too_large_a_certificate_is_refused(forward: str) -> None:
    who = peer(padding=MAX_SIZE)
    refusal, fields = ClientRule("required", (), (forward,)).judge(who)
    assert refusal == "the client certificate is too large to be forwarded"
    assert fields == ()
    assert ClientRule("required", (), ("xfcc",)).judge(who)[0] == "", "its hash is not large"


@given(st.text(max_size=40))
def test_whatever_a_subject_holds_is_one_quoted_ascii_value(name: str) -> None:
    from cryptography import x509

    from lockgate.core.tls.peer import name_text

    if not 1 <= len(name.encode("utf-8", "replace")) <= 64:
        return
    try:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    except ValueError:
        return
    text = name_text(subject)
    assert re.fullmatch(r"CN=([A-Za-z0-9 \-._:/@'()*~!?&%$\[\]{}|^`]|\\[0-9A-F]{2})*", text)


@pytest.mark.parametrize(
    "forward",
    [
        ("x",), ("",), ("Client-Cert",), ("subject",), ("subject:",), ("subject:X-Peer",), ("cn:X-Client-Name",),
        ("subject:X-Client-",), ("subject:X-Client-A_B",), ("subject:X-Client-A.B",), ("subject:X-Client-A: b",),
        ("subject:X-Client-" + "a" * 51,), ("subject:Host",), ("subject:Content-Length",), ("subject:X-Forwarded-For",),
        ("xfcc", "xfcc-cert"), ("xfcc", "xfcc"), ("subject:X-Client-A", "san:x-client-a"),
    ],
)  # fmt: skip
def test_impossible_forwards(forward: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ClientRule("required", (), forward)


def test_every_field_that_is_told_is_one_that_clients_may_not_send() -> None:
    fields = told("client-cert", "xfcc", "subject:X-Client-Subject")
    own = check_forward(("subject:X-Client-Subject",))
    assert {name.encode() for name in fields} <= MANAGED | own


@pytest.mark.parametrize("allow", [("dns:a.example",), "dns:a.example", (None,)])
def test_what_is_allowed_are_patterns(allow: object) -> None:
    """With texts the rule kept everybody out, and nobody was told why."""
    with pytest.raises(TypeError, match=r"allow is a tuple of what parse_pattern makes, not of (str|NoneType)"):
        ClientRule("required", allow)  # type: ignore[arg-type]
