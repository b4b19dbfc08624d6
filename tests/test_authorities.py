"""Authorities that vouch for nobody, and revocation lists that OpenSSL passes over: what is said of them is what it does."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support_certs import Key, Signed, common_name
from support_config import GOOD, found, one, write_pem
from support_tls import _key_usage, server_pem

from lockgate.certs.authorities import incapacity
from lockgate.certs.store import pair
from lockgate.core.errors import TLSError
from lockgate.core.tls.client_auth import ClientAuth
from lockgate.core.tls.client_check import check_client
from lockgate.core.tls.context import ContextError
from lockgate.server.check_backend_tls import BUNDLE

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PIN = (server_pem().chain, server_pem().key)


def signed(
    subject: str = "authority",
    issuer: Signed | None = None,
    *,
    ca: bool | None = True,
    uses: tuple[str, ...] = (),
    first: int = -9,
    last: int = 90,
    key: Key | None = None,
    length: int | None = None,
    name: str = "",
) -> Signed:
    """`ca` None: without basic constraints. `uses`: of its key; none: without key usage. `name`: that it is for."""
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(subject))
        .issuer_name(common_name(subject) if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + first * DAY)
        .not_valid_after(NOW + last * DAY)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=length), critical=True)
    if name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if uses:
        builder = builder.add_extension(_key_usage(**dict.fromkeys(uses, True)), critical=True)
    return Signed(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def listed(issuer: Signed, *extensions: x509.ExtensionType, revoked: int = 0, last: int = 30) -> bytes:
    """A revocation list with critical extensions."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + last * DAY)
    )
    if revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(revoked).revocation_date(NOW).build()
        builder = builder.add_revoked_certificate(entry)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def point(**values: Any) -> x509.IssuingDistributionPoint:
    settings: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**settings, **values})


def is_taken(authority: Signed, *shown: Signed, crl: bytes = b"", more: bytes = b"") -> bool:
    """Whether a handshake takes a client with these certificates."""
    chain = [each.certificate.public_bytes(serialization.Encoding.DER) for each in shown]
    try:
        check_client(ClientAuth(mode="required", ca=authority.pem + more, crl=crl), chain, PIN)
    except TLSError:
        return False
    return True


AUTHORITIES = {
    "good": (signed(), ""),
    "with key usage": (signed(uses=("key_cert_sign",)), ""),
    "key usage alone": (signed(ca=None, uses=("key_cert_sign",)), ""),
    "expired": (signed(last=-1), "expired on"),
    "not yet": (signed(first=1), "is not valid before"),
    "short": (signed(key=rsa.generate_private_key(65537, 1024)), "has an RSA key of 1024 bits, which OpenSSL refuses"),
    "says nothing": (signed(ca=None), "may not sign certificates"),
    "lists only": (signed(uses=("crl_sign",)), "may not sign certificates"),
}


@pytest.mark.parametrize("name", AUTHORITIES)
def test_whose_clients_are_refused(name: str) -> None:
    authority, says = AUTHORITIES[name]
    assert incapacity(authority.certificate, NOW).startswith(says)
    assert bool(incapacity(authority.certificate, NOW)) == bool(says)
    assert is_taken(authority, signed("client", authority, ca=False)) == (not says)


@pytest.mark.parametrize("values", [{"last": -1}, {"ca": False}, {"key": rsa.generate_private_key(65537, 1024)}])
def test_an_intermediate_counts_too(values: dict[str, Any]) -> None:
    root = signed("root")
    middle = signed("middle", root, **values)
    assert incapacity(middle.certificate, NOW)
    assert not is_taken(root, signed("client", middle, ca=False), more=middle.pem)


@pytest.mark.parametrize("values", [{"ca": False}, {"ca": None, "name": "a.test"}])
def test_one_that_may_not_sign_vouches_for_itself(values: dict[str, Any]) -> None:
    """As a single peer that is trusted: without basic constraints it has names, which an authority has not."""
    alone = signed(**values)
    assert is_taken(alone, alone)
    assert incapacity(alone.certificate, NOW) == ""


CHAINS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "good": ({"length": 0}, {"length": 1}, ""),
    "no authority": ({"ca": False}, {}, "its issuer 'lower' may not sign certificates"),
    "lists only": ({}, {"uses": ("crl_sign",)}, "its issuer 'upper' may not sign certificates"),
    "too long": ({}, {"length": 0}, "its issuer 'upper' may have no more than 0 authorities below it (path length)"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_issuers_in_a_chain_that_clients_refuse(name: str) -> None:
    of_lower, of_upper, says = CHAINS[name]
    root = signed("root")
    upper = signed("upper", root, **of_upper)
    lower = signed("lower", upper, **of_lower)
    leaf = signed("leaf", lower, ca=False)
    chain = [each.certificate for each in (leaf, lower, upper, root)]
    warnings = [warning for warning in pair(chain, leaf.key, "a.pem", "a.key").warnings if "issuer" in warning]
    assert len(warnings) == bool(says)
    assert all(warning.startswith(says) for warning in warnings)
    assert is_taken(root, leaf, lower, upper) == (not says)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    return tmp_path


HOST = '[[host]]\nnames = ["localhost"]\nclient_auth = { mode = "required", ca = "clients.pem"%s }\n'


def test_check_says_it_of_clients(folder: Path) -> None:
    (folder / "clients.pem").write_bytes(signed().pem + signed("strange", ca=None).pem)
    line, text = one(folder, GOOD + HOST % "")
    assert line == 13
    assert text == (
        f"warning: {folder}/clients.pem: 'CN=strange' may not sign certificates (basic constraints or key usage), "
        "so its clients are refused; get its new certificate, or remove it"
    )


def test_check_says_it_of_servers(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(signed().pem + signed("old", last=-1).pem)
    line, text = one(folder, GOOD + 'tls = { ca = "ca.pem" }\n')
    assert line == 11
    assert "warning: " in text
    assert "ca.pem: 'old' expired on" in text
    assert "so servers with its certificates are refused" in text


def test_of_the_authorities_of_a_system_nothing_is_said(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(signed().pem + BUNDLE * signed("old", last=-1).pem)
    assert found(folder, GOOD + 'tls = { ca = "ca.pem" }\n') == []


def test_authorities_for_servers_without_a_root(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(signed("middle", signed()).pem)
    line, text = one(folder, GOOD + 'tls = { ca = "ca.pem" }\n')
    assert line == 11
    assert "ca.pem: has no root certificate, so no server can be verified; add the root's to it" in text


# -- revocation lists ------------------------------------------------------------------------------------------------

REASONS = frozenset([x509.ReasonFlags.key_compromise])
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
X400_POINT = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.28"), bytes.fromhex("3008a006a004a3023000"))
"""A distribution point that is an address of X.400 (RFC 5280 sections 4.2.1.6 and 5.2.5), which cryptography does not read."""
LISTS = {
    "delta": (x509.DeltaCRLIndicator(1), "is a delta list"),
    "indirect": (point(indirect_crl=True), "is an indirect list"),
    "some reasons": (point(only_some_reasons=REASONS), "for some reasons"),
    "attributes": (point(only_contains_attribute_certs=True), "attribute certificates only"),
    "unknown": (UNKNOWN, "a critical extension that is not known (1.2.3.4)"),
    "unreadable": (X400_POINT, "has extensions that cannot be read"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_passed_over_is_refused(folder: Path, name: str) -> None:
    """Beside a whole one it would be: whoever was revoked in it alone came in."""
    extension, says = LISTS[name]
    authority = signed()
    client = signed("client", authority, ca=False)
    whole = listed(authority)
    partial = listed(authority, extension, revoked=client.certificate.serial_number)
    assert is_taken(authority, client, crl=whole)
    with pytest.raises(ContextError, match="a revocation list "):
        is_taken(authority, client, crl=whole + partial)
    (folder / "clients.pem").write_bytes(authority.pem)
    (folder / "crl.pem").write_bytes(whole + partial)
    line, text = one(folder, GOOD + HOST % ', crl = "crl.pem"')
    assert line == 13
    assert says in text
    assert text.endswith("and is passed over by OpenSSL; give the complete list")


def test_lists_for_clients_and_for_authorities_are_together_a_whole_one(folder: Path) -> None:
    authority = signed()
    client = signed("client", authority, ca=False)
    both = listed(authority, point(only_contains_user_certs=True)) + listed(
        authority, point(only_contains_ca_certs=True)
    )
    assert is_taken(authority, client, crl=both)
    (folder / "clients.pem").write_bytes(authority.pem)
    (folder / "crl.pem").write_bytes(both)
    assert found(folder, GOOD + HOST % ', crl = "crl.pem"') == []


def test_an_authority_that_may_not_sign_lists(folder: Path) -> None:
    authority = signed(uses=("key_cert_sign",))
    assert not is_taken(authority, signed("client", authority, ca=False), crl=listed(authority))
    (folder / "clients.pem").write_bytes(authority.pem)
    (folder / "crl.pem").write_bytes(listed(authority))
    line, text = one(folder, GOOD + HOST % ', crl = "crl.pem"')
    assert line == 13
    assert "clients.pem: 'CN=authority' may not sign revocation lists (key usage without cRLSign)" in text
