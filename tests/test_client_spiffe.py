"""SPIFFE IDs of clients: only a certificate that is an X.509-SVID of a workload fits a pattern for one."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from support_mtls import clients, der, dns, uri

from lockgate.core.proxy.client_rule import ClientRule, parse_pattern
from lockgate.core.tls.peer import PeerCertificate

WEB = uri("spiffe://prod/web")
SIGNING = ("digital_signature", "key_cert_sign"), ("digital_signature", "crl_sign")
PATTERNS = ("spiffe://prod/*", "spiffe://prod/web", "uri:spiffe://prod/web")


def peer(
    *names: x509.GeneralName, ca: bool | None = False, uses: tuple[str, ...] = ("digital_signature",)
) -> PeerCertificate:
    """`ca` None: without basic constraints; `uses` empty: without key usage."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(clients().signing.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if uses:
        every = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(**{use: use in uses for use in every}), critical=True)
    return PeerCertificate((der(builder.sign(clients().signing_key, hashes.SHA256())), der(clients().root)))


def allows(pattern: str, who: PeerCertificate) -> bool:
    return not ClientRule("required", (parse_pattern(pattern),)).judge(who)[0]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_of_a_workload(pattern: str) -> None:
    assert allows(pattern, peer(WEB))
    assert allows(pattern, peer(WEB, dns("web.example")))
    assert allows(pattern, peer(WEB, ca=None, uses=()))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_with_several_uris(pattern: str) -> None:
    """X509-SVID section 2: which of them it is nobody could say."""
    for other in ("spiffe://dev/web", "https://web.example/"):
        assert not allows(pattern, peer(WEB, uri(other)))
        assert not allows(pattern, peer(uri(other), WEB))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_of_an_authority(pattern: str) -> None:
    """X509-SVID section 5.2: only a leaf says who a workload is."""
    assert not allows(pattern, peer(WEB, ca=True))
    for uses in SIGNING:
        assert not allows(pattern, peer(WEB, uses=uses))


def test_patterns_for_other_names_do_not_mind() -> None:
    who = peer(WEB, uri("https://web.example/a"), dns("web.example"))
    assert allows("uri:https://web.example/*", who)
    assert allows("dns:web.example", who)
    assert allows(f"sha256:{who.sha256}", who)


@pytest.mark.parametrize("text", ["spiffe://prod", "spiffe://prod/", "uri:spiffe://prod"])
def test_a_trust_domain_is_nobody(text: str) -> None:
    """X509-SVID section 5.2 again: the ID of a workload has a path."""
    with pytest.raises(ValueError, match="is a trust domain and no client of it"):
        parse_pattern(text)
