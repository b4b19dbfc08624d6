"""Name constraints that a chain violates are told when it is loaded; OpenSSL is asked for the verdict of clients."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from OpenSSL import crypto
from support_certs import Signed, no_roots, sign, write

from lockgate.certs.store import load_certificate

NOW = datetime.now(UTC)


def tree(text: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_network(text)) if "/" in text else x509.DNSName(text)


def constraints(permitted: str = "", excluded: str = "") -> x509.NameConstraints:
    """Of words; `""` among them is the empty name."""
    lists = [[tree(word.strip('"')) for word in words.split()] or None for words in (permitted, excluded)]
    return x509.NameConstraints(*lists)


@cache
def root() -> Signed:
    return sign("Root", ca=True, now=NOW)


def issued(names: str, permitted: str, excluded: str) -> tuple[Signed, Signed]:
    """A leaf and its issuer."""
    issuer = sign("Constrained CA", root(), ca=True, now=NOW, constraints=constraints(permitted, excluded))
    return sign("leaf", issuer, names=names.split(), now=NOW), issuer


def told(tmp_path, leaf: Signed, *others: Signed, roots=no_roots) -> list[str]:
    chain = write(tmp_path, "chain.pem", leaf.pem, *(other.pem for other in others))
    key = write(tmp_path, "key.pem", leaf.key_pem())
    found = load_certificate(chain, key, roots=roots).warnings
    return [text for text in found if "name constraints" in text]


def is_refused(leaf: Signed, *issuers: Signed, anchor: Signed | None = None) -> object:
    """What OpenSSL says of the chain."""
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography((anchor or root()).certificate))
    chain = [crypto.X509.from_cryptography(issuer.certificate) for issuer in issuers]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf.certificate), chain).verify_certificate()
    except crypto.X509StoreContextError as error:
        return "subtree violation" in str(error) or error
    return False


RULES = [  # names, permitted, excluded, whether it is refused
    ("a.corp.test", "corp.test", "", False),
    ("corp.test", "corp.test", "", False),
    ("A.Corp.TEST", "corp.test", "", False),
    ("a.corp.test", "CORP.test", "", False),
    ("a.b.corp.test", "corp.test", "", False),
    ("acorp.test", "corp.test", "", True),
    ("a.corp.test other.test", "corp.test", "", True),
    ("a.corp.test other.test", "corp.test other.test", "", False),
    ("a.corp.test", ".corp.test", "", False),
    ("corp.test", ".corp.test", "", True),
    ("*.corp.test", "corp.test", "", False),
    ("*.corp.test", "a.corp.test", "", True),
    ("a.corp.test", '""', "", False),
    ("a.corp.test", "", '""', True),
    ("a.corp.test", "", "corp.test", True),
    ("corp.test", "", "corp.test", True),
    ("a.corp.test", "", "b.corp.test", False),
    ("a.b.corp.test", "corp.test", "b.corp.test", True),
    ("a.corp.test", "corp.test", "b.corp.test", False),
    ("*.corp.test", "", "corp.test", True),
    ("ip:10.1.2.3", "10.0.0.0/8", "", False),
    ("ip:11.1.2.3", "10.0.0.0/8", "", True),
    ("ip:10.1.2.3", "", "10.0.0.0/8", True),
    ("ip:10.1.2.3", "10.0.0.0/8", "10.1.0.0/16", True),
    ("ip:10.1.2.3", "", "0.0.0.0/0", True),
    ("ip:fd00::1", "fd00::/8", "", False),
    ("ip:2001:db8::1", "fd00::/8", "", True),
    ("ip:fd00::1", "10.0.0.0/8", "", True),
    ("ip:10.1.2.3", "corp.test", "", False),
    ("a.corp.test", "10.0.0.0/8", "", False),
    ("a.corp.test ip:10.1.2.3", "corp.test 10.0.0.0/8", "", False),
]


@pytest.mark.parametrize(("names", "permitted", "excluded", "refused"), RULES)
def test_it_is_told_where_clients_refuse_it(tmp_path, names, permitted, excluded, refused):
    leaf, issuer = issued(names, permitted, excluded)
    assert is_refused(leaf, issuer) is refused
    assert bool(told(tmp_path, leaf, issuer)) is refused


def test_the_message_names_issuer_names_and_rule(tmp_path):
    leaf, issuer = issued("a.corp.test b.other.test ip:10.0.0.1", "corp.test", "x.corp.test 10.0.0.0/8")
    assert told(tmp_path, leaf, issuer) == [
        "its issuer 'Constrained CA' may not issue for 'b.other.test', '10.0.0.1' (name constraints: only for 'corp.test', "
        "not for 'x.corp.test', '10.0.0.0/8'), so clients will refuse it; get a certificate without such names, or from "
        "another issuer"
    ]


@pytest.mark.parametrize(
    ("name", "excluded", "said"),
    [
        ("*.corp.test", "a.corp.test", True),
        ("*.corp.test", "a.b.corp.test", False),
        ("*.corp.test", "a.other.test", False),
        ("a.corp.test", "b.corp.test", False),
    ],
)
def test_a_wildcard_that_stands_for_an_excluded_name_is_told(tmp_path, name, excluded, said):
    """Go refuses it; OpenSSL does not."""
    assert bool(told(tmp_path, *issued(name, "", excluded))) is said


def test_each_issuer_is_asked_and_the_root_too(tmp_path):
    rules = constraints("corp.test")
    anchor = sign("Constrained Root", ca=True, now=NOW, constraints=rules)
    second = sign("Second CA", anchor, ca=True, now=NOW, constraints=rules)
    first = sign("First CA", second, ca=True, now=NOW)
    good, bad = (sign("leaf", first, names=[name], now=NOW) for name in ("a.corp.test", "a.other.test"))
    assert not is_refused(good, first, second, anchor=anchor)
    assert is_refused(bad, first, second, anchor=anchor)
    assert told(tmp_path, good, first, second, anchor) == []
    assert ["Second" in text for text in told(tmp_path, bad, first, second)] == [True]
    assert ["Root" in text for text in told(tmp_path, bad, first, second, anchor)] == [False, True]
    known = {anchor.certificate.subject.public_bytes(): [anchor.certificate]}
    assert ["Root" in text for text in told(tmp_path, bad, first, second, roots=lambda: known)] == [False, True]


def test_what_cannot_be_read_is_no_rule(tmp_path):
    """A mask with holes, which `cryptography` does not take."""
    der = bytes.fromhex("300ea00c300a87080a000000ff00ff00")
    holes = x509.UnrecognizedExtension(x509.NameConstraints.oid, der)
    issuer = sign("Constrained CA", root(), ca=True, now=NOW, constraints=holes)
    leaf = sign("leaf", issuer, names=["ip:11.1.2.3"], now=NOW)
    assert told(tmp_path, leaf, issuer) == []
