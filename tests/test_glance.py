"""A glance at a certificate makes what a full look makes, or leaves it to that."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support_certs import Signed, for_pss_alone, rsa_key, sign, signed_with_sha1, write

from lockgate.certs import glance as glance_module
from lockgate.certs.files import CertificateError
from lockgate.certs.glance import glance_at_files
from lockgate.certs.store import load_certificate

TODAY = datetime.datetime.now(datetime.UTC)
Files = tuple[list[bytes], bytes]
"""The parts of a certificate file, and a key file."""


def made(subject: str, issuer: Signed | None = None, **options: Any) -> Signed:
    return sign(subject, issuer, now=TODAY, identifiers=True, **options)


ROOT = made("root", ca=True)
UPPER = made("upper", ROOT, ca=True)
SIGNING = made("signing", UPPER, ca=True)
LEAF = made("leaf", SIGNING, names=["a.test", "*.a.test", "ip:192.0.2.1"])


def issued(issuer: Signed = SIGNING, **options: object) -> Signed:
    return made("leaf", issuer, **({"names": ["a.test"]} | options))


def files_of(leaf: Signed, *more: Signed) -> Files:
    return [leaf.pem, *(one.pem for one in more or (SIGNING, UPPER))], leaf.key_pem()


def below(issuer: Signed) -> Files:
    return files_of(issued(issuer), issuer)


def no_text(signed: Signed) -> Signed:
    """With a byte in its subject that no UTF-8 has; its signature is wrong then."""
    der = signed.certificate.public_bytes(Encoding.DER)
    changed = der.replace("é".encode(), b"\xc3\xff")
    assert changed != der
    return Signed(x509.load_der_x509_certificate(changed), signed.key)


def put(folder: Path, files: Files, mode: int = 0o600) -> tuple[Path, Path]:
    return write(folder, "a.pem", *files[0]), write(folder, "a.key", files[1], mode=mode)


PLAIN: dict[str, Callable[[], Files]] = {
    "chain": lambda: files_of(LEAF),
    "one issuer": lambda: files_of(issued(UPPER), UPPER),
    "RSA": lambda: files_of(issued(key=rsa_key())),
    "P-384": lambda: files_of(issued(key=ec.generate_private_key(ec.SECP384R1()))),
    "Ed25519": lambda: files_of(issued(key=ed25519.Ed25519PrivateKey.generate())),
    "a name in Unicode": lambda: files_of(sign("lé", SIGNING, names=["a.test"], now=TODAY)),
    "a long name": lambda: files_of(sign("l" * 0x1E, SIGNING, names=["a.test"], now=TODAY)),
    "an RSA issuer": lambda: below(OLD_STYLE),
    "no identifiers": lambda: files_of(sign("leaf", SIGNING, names=["a.test"], now=TODAY)),
    "words between": lambda: ([b"leaf\n", LEAF.pem, b"\nsigning\n", SIGNING.pem, UPPER.pem], LEAF.key_pem()),
    "traditional key": lambda: ([LEAF.pem, SIGNING.pem, UPPER.pem], LEAF.key_pem(traditional=True)),
}


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("case", PLAIN)
def test_what_is_plain(tmp_path: Path, case: str, verified: bool) -> None:
    paths = put(tmp_path, PLAIN[case]())
    found = glance_at_files(*paths, verified=verified)
    assert found is not None
    assert found == load_certificate(*paths)
    assert found.warnings == ()


def test_both_in_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.pem", LEAF.key_pem(), LEAF.pem, SIGNING.pem, UPPER.pem)
    found = glance_at_files(path, path)
    assert found is not None
    assert found == load_certificate(path, path)
    kept = glance_module._issuers(b"\n".join(one.pem.strip() for one in (SIGNING, UPPER)))
    assert kept is not None
    assert b"PRIVATE" not in kept.pem


SMALL = made("small", ROOT, ca=True, key=rsa.generate_private_key(65537, 1024))
LIMITED = made(
    "limited", ROOT, ca=True, constraints=x509.NameConstraints([x509.DNSName("b.test")], excluded_subtrees=None)
)
OTHER = made("signing", UPPER, ca=True)
"""Another authority of the same name."""
OLD_STYLE = made("rsa", ROOT, ca=True, key=rsa_key())
SAME_KEY = made("same key", ROOT, ca=True)
NOT_PLAIN: dict[str, Callable[[], Files]] = {
    "wrong order": lambda: files_of(LEAF, UPPER, SIGNING),
    "an issuer before it": lambda: ([SIGNING.pem, LEAF.pem, UPPER.pem], LEAF.key_pem()),
    "with its root": lambda: files_of(LEAF, SIGNING, UPPER, ROOT),
    "alone": lambda: ([LEAF.pem], LEAF.key_pem()),
    "a stranger": lambda: files_of(LEAF, SIGNING, UPPER, issued()),
    "an issuer twice": lambda: files_of(LEAF, SIGNING, SIGNING, UPPER),
    "two of the same name": lambda: files_of(LEAF, SIGNING, OTHER, UPPER),
    "another of the same name": lambda: files_of(LEAF, OTHER, UPPER),
    "wrong key": lambda: ([LEAF.pem, SIGNING.pem], issued().key_pem()),
    "key of the issuer": lambda: files_of(issued(SAME_KEY, key=SAME_KEY.key), SAME_KEY),
    "encrypted key": lambda: ([LEAF.pem, SIGNING.pem], LEAF.key_pem(b"secret")),
    "no key": lambda: ([LEAF.pem, SIGNING.pem], b""),
    "damaged": lambda: ([LEAF.pem.replace(b"MII", b"MIJ", 1), SIGNING.pem], LEAF.key_pem()),
    "cut off": lambda: ([LEAF.pem, SIGNING.pem[:-40]], LEAF.key_pem()),
    "a later one damaged": lambda: ([LEAF.pem, SIGNING.pem, UPPER.pem.replace(b"MII", b"MIJ", 1)], LEAF.key_pem()),
    "another label": lambda: (
        [LEAF.pem, SIGNING.pem, UPPER.pem.replace(b" CERTIFICATE", b" X509 CERTIFICATE")],
        LEAF.key_pem(),
    ),
    "a name that is no text": lambda: files_of(no_text(sign("lé", SIGNING, names=["a.test"], now=TODAY))),
    "a root of its own": lambda: files_of(ROOT, SIGNING),
    "expired": lambda: files_of(issued(last=-0.5)),
    "not valid yet": lambda: files_of(issued(first=1)),
    "expires soon": lambda: files_of(issued(first=-60, last=10)),
    "an issuer has expired": lambda: below(made("old", ROOT, ca=True, last=-0.5)),
    "an issuer is not valid yet": lambda: below(made("young", ROOT, ca=True, first=1)),
    "odd names": lambda: files_of(issued(names=["a.test", "a*.test"])),
    "no names": lambda: files_of(issued(names=None)),
    "an issuer that is none": lambda: below(made("none", ROOT)),
    "small key above": lambda: below(SMALL),
    "constraints": lambda: below(LIMITED),
    "weak": lambda: files_of(signed_with_sha1(issued(OLD_STYLE)), OLD_STYLE),
    "small key": lambda: files_of(issued(key=rsa.generate_private_key(65537, 1024))),
    "odd curve": lambda: files_of(issued(key=ec.generate_private_key(ec.SECP256K1()))),
    "PSS": lambda: files_of(for_pss_alone(issued(key=rsa_key()))),
}


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("case", NOT_PLAIN)
def test_what_is_left_to_the_full_look(tmp_path: Path, case: str, verified: bool) -> None:
    assert glance_at_files(*put(tmp_path, NOT_PLAIN[case]()), verified=verified) is None


def test_a_key_that_all_may_read(tmp_path: Path) -> None:
    paths = put(tmp_path, files_of(LEAF), mode=0o644)
    assert glance_at_files(*paths) is None
    assert "can be read by every user" in load_certificate(*paths).warnings[0]


def test_no_file(tmp_path: Path) -> None:
    cert, key = put(tmp_path, files_of(LEAF))
    key.unlink()
    assert glance_at_files(cert, key) is None
    cert.unlink()
    assert glance_at_files(cert, key) is None


def test_another_time(tmp_path: Path) -> None:
    """What is remembered of issuers does not make them immortal."""
    cert, key = (path.read_bytes() for path in put(tmp_path, files_of(LEAF)))
    path = tmp_path / "a.key"
    assert glance_module.glance(cert, key, path, now=TODAY) is not None
    assert glance_module.glance(cert, key, path, now=TODAY + datetime.timedelta(days=400)) is None
    assert glance_module.glance(cert, key, path, now=TODAY - datetime.timedelta(days=400)) is None


def forged() -> Signed:
    """Signed by another key than that of the issuer it names, with the identifiers of that."""
    thief = Signed(SIGNING.certificate, OTHER.key)
    return sign("leaf", thief, names=["a.test"], now=TODAY)


def inconsistent(key: rsa.RSAPrivateKey) -> bytes:
    """A key whose numbers do not fit together: no signature with it is right."""
    numbers = key.private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d + 2, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    )
    private = wrong.private_key(unsafe_skip_rsa_key_validation=True)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_arithmetic_can_be_left_for_later(tmp_path: Path) -> None:
    leaf = forged()
    paths = put(tmp_path, files_of(leaf))
    assert glance_at_files(*paths) is None
    found = glance_at_files(*paths, verified=False)
    assert found is not None
    assert found.chain_pem.count(b"BEGIN") == 3
    assert load_certificate(*paths).chain_pem == leaf.pem, "its issuer has not signed it"

    paths = put(tmp_path, ([issued(key=rsa_key()).pem, SIGNING.pem, UPPER.pem], inconsistent(rsa_key())))
    assert glance_at_files(*paths) is None
    assert glance_at_files(*paths, verified=False) is not None
    with pytest.raises(CertificateError, match="has a private key that cannot be decoded"):
        load_certificate(*paths)


def test_issuers_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many certificates they have."""
    glance_module._issuers.cache_clear()
    looked: list[bytes] = []
    checked: list[x509.Certificate] = []
    parse, issued_by = glance_module.parse_chain, glance_module.issued_by
    monkeypatch.setattr(glance_module, "parse_chain", lambda pem, path: looked.append(pem) or parse(pem, path))
    monkeypatch.setattr(glance_module, "issued_by", lambda one, issuer: checked.append(one) or issued_by(one, issuer))
    for number in range(5):
        paths = put(tmp_path, files_of(issued(names=[f"{number}.test"])))
        assert glance_at_files(*paths, verified=False) is not None
    assert len(looked) == 1
    assert checked == [SIGNING.certificate], "the signature of no leaf is checked"
