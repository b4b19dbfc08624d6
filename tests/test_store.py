"""Certificates and keys from files: what is accepted, and that every fault is named with its file and a remedy."""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_certs import for_pss_alone, rsa_key, sign, write
from support_config import GOOD
from support_tls import authority, client_pem, expired_pem, rsa_pem, self_signed_pem, server_pem

from lockgate.certs.entries import index_file
from lockgate.certs.store import CertificateError, load_certificate, load_chain, load_key, pair
from lockgate.core.tls.context import ContextError, server_context

NOW = datetime.datetime.now(datetime.UTC)


def files(folder: Path, chain: bytes, key: bytes) -> tuple[Path, Path]:
    cert_path, key_path = folder / "site.pem", folder / "site.key"
    cert_path.write_bytes(chain)
    key_path.write_bytes(key)
    key_path.chmod(0o600)
    return cert_path, key_path


def self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, san: list[x509.GeneralName] | None) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plain.Test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=90))
    )
    if san is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def key_pem(key: object, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def blocks(pem: bytes) -> list[bytes]:
    return [block + b"-----END CERTIFICATE-----\n" for block in pem.split(b"-----END CERTIFICATE-----\n")[:-1]]


def test_chain_and_key(tmp_path):
    pem = server_pem()
    certificate = load_certificate(*files(tmp_path, pem.chain, pem.key))
    assert certificate.names == ("localhost", "example.test", "*.example.test", "127.0.0.1", "::1")
    assert certificate.key_type == "ECDSA"
    assert certificate.not_before < NOW < certificate.not_after
    assert certificate.chain_pem == pem.chain
    assert certificate.key_pem == pem.key
    assert certificate.warnings == ()


def test_rsa(tmp_path):
    pem = rsa_pem()
    assert load_certificate(*files(tmp_path, pem.chain, pem.key)).key_type == "RSA"


def test_chain_and_key_in_one_file(tmp_path):
    pem = server_pem()
    path = tmp_path / "both.pem"
    path.write_bytes(pem.key + b"some words of explanation\n" + pem.chain)
    path.chmod(0o600)
    certificate = load_certificate(path, path)
    assert certificate.chain_pem == pem.chain
    assert certificate.key_pem == pem.key


def test_traditional_key_format_becomes_pkcs8(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert b"BEGIN EC PRIVATE KEY" in old
    chain = self_signed(key, san=[x509.DNSName("a.test")])
    certificate = load_certificate(*files(tmp_path, chain, old))
    assert certificate.key_pem == key_pem(key)


def test_names_are_lower_case_and_listed_once(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    chain = self_signed(key, san=[x509.DNSName("WWW.A.Test"), x509.DNSName("www.a.test"), x509.DNSName("b.test")])
    assert load_certificate(*files(tmp_path, chain, key_pem(key))).names == ("www.a.test", "b.test")


def test_key_is_never_shown(tmp_path):
    pem = server_pem()
    certificate = load_certificate(*files(tmp_path, pem.chain, pem.key))
    secret = pem.key.decode().splitlines()[1]
    assert secret not in repr(certificate)
    assert secret not in str(certificate)


@pytest.mark.parametrize("place", ["cert", "key"])
def test_missing_file(tmp_path, place):
    pem = server_pem()
    paths = files(tmp_path, pem.chain, pem.key)
    missing = paths[0] if place == "cert" else paths[1]
    missing.unlink()
    with pytest.raises(CertificateError) as caught:
        load_certificate(*paths)
    assert caught.value.path == missing
    assert caught.value.fault == f"this {'certificate' if place == 'cert' else 'key'} file does not exist"
    assert str(caught.value).startswith(f"{missing}: ")
    assert caught.value.remedy


def test_folder(tmp_path):
    with pytest.raises(CertificateError, match="is a folder"):
        load_chain(tmp_path)


def test_impossible_path():
    with pytest.raises(CertificateError, match="the path is not possible"):
        load_chain("a\0b")


def test_path_too_long():
    with pytest.raises(CertificateError, match="cannot be read"):
        load_chain("a" * 5000)


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.key").touch()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CertificateError, match="this key file may not be read"):
        load_key(tmp_path / "x.key")


DER = x509.load_pem_x509_certificates(server_pem().chain)[0].public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not a PEM file"),
        (b"hello", "is not a PEM file"),
        (DER, "is in DER form, not PEM"),
        (server_pem().key, "has no certificate in it"),
        (server_pem().chain[:200], "has a certificate that cannot be decoded"),
        (server_pem().chain[:-40], "has a certificate that cannot be decoded"),
        (server_pem().chain.replace(b"MII", b"MIA", 1), "has a certificate that cannot be decoded"),
    ],
    ids=["empty", "text", "DER", "key", "cut off", "cut off in the issuer", "damaged"],
)
def test_bad_chain(tmp_path, content, fault):
    pem = server_pem()
    paths = files(tmp_path, content, pem.key)
    with pytest.raises(CertificateError) as caught:
        load_certificate(*paths)
    assert caught.value.fault == fault
    assert caught.value.path == paths[0]


def test_wrong_kind_of_pem_is_named(tmp_path):
    with pytest.raises(CertificateError) as caught:
        load_certificate(*files(tmp_path, server_pem().key, server_pem().key))
    assert "PRIVATE KEY" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"hello", "is not a PEM file"),
        (server_pem().chain, "has no private key in it"),
        (server_pem().key[:80] + b"\n-----END PRIVATE KEY-----\n", "has a private key that cannot be decoded"),
        (key_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "is encrypted"),
        (key_pem(dsa.generate_private_key(1024)), "has a kind of key that TLS cannot use"),
        (key_pem(rsa.generate_private_key(65537, 1024)), "has an RSA key of 1024 bits"),
        (key_pem(ec.generate_private_key(ec.SECP256K1())), "has a key on the curve secp256k1"),
    ],
    ids=["text", "certificate", "damaged", "encrypted", "DSA", "short RSA", "curve"],
)
def test_bad_key(tmp_path, content, fault):
    paths = files(tmp_path, server_pem().chain, content)
    with pytest.raises(CertificateError) as caught:
        load_certificate(*paths)
    assert caught.value.fault.startswith(fault)
    assert caught.value.path == paths[1]
    assert content.splitlines()[1].decode() not in str(caught.value) if content.count(b"\n") > 1 else True


def test_key_of_another_certificate(tmp_path):
    paths = files(tmp_path, server_pem().chain, client_pem().key)
    with pytest.raises(CertificateError, match="does not belong to the certificate in") as caught:
        load_certificate(*paths)
    assert caught.value.path == paths[1]


def test_ed25519_key_is_a_key(tmp_path):
    path = tmp_path / "x.key"
    path.write_bytes(key_pem(ed25519.Ed25519PrivateKey.generate()))
    assert isinstance(load_key(path), ed25519.Ed25519PrivateKey)


def test_certificate_is_not_first(tmp_path):
    pem = server_pem()
    leaf, issuer = blocks(pem.chain)
    certificate = load_certificate(*files(tmp_path, issuer + leaf, pem.key))
    assert certificate.chain_pem == pem.chain
    assert "wrong order; they are sent as 'localhost, example.test" in certificate.warnings[0]


def test_chain_out_of_order(tmp_path):
    pem = server_pem()
    leaf, issuer = blocks(pem.chain)
    certificate = load_certificate(*files(tmp_path, leaf + authority().pem + issuer, pem.key))
    assert certificate.chain_pem == pem.chain
    assert certificate.warnings == ()  # what is sent was in order: the root is not


def test_foreign_certificate_in_chain(tmp_path):
    pem = server_pem()
    certificate = load_certificate(*files(tmp_path, pem.chain + blocks(client_pem().chain)[0], pem.key))
    assert certificate.chain_pem == pem.chain
    assert certificate.warnings == (
        "has certificates that do not belong to its chain, which are not sent: 'lockgate test'; remove them",
    )


def test_root_at_the_end_is_fine(tmp_path):
    pem = server_pem()
    certificate = load_certificate(*files(tmp_path, pem.chain + authority().pem, pem.key))
    assert certificate.chain_pem == pem.chain
    assert certificate.warnings == ()


def test_expired(tmp_path):
    pem = expired_pem()
    paths = files(tmp_path, pem.chain, pem.key)
    with pytest.raises(CertificateError, match="expired on") as caught:
        load_certificate(*paths)
    assert "allow_expired" in caught.value.remedy
    certificate = pair(load_chain(paths[0]), load_key(paths[1]), *paths, allow_expired=True)
    assert "expired on" in certificate.warnings[0]


def test_not_yet_valid(tmp_path):
    pem = server_pem()
    paths = files(tmp_path, pem.chain, pem.key)
    with pytest.raises(CertificateError, match="is not valid before"):
        load_certificate(*paths, now=NOW - datetime.timedelta(days=400))


def test_expires_soon(tmp_path):
    pem = server_pem()
    certificate = load_certificate(*files(tmp_path, pem.chain, pem.key), now=NOW + datetime.timedelta(days=360))
    assert [warning for warning in certificate.warnings if warning.startswith("expires on")]


def test_a_short_life_is_no_reason_to_warn(tmp_path):
    pem = authority().issue("a.test", first_day=0, last_day=6)
    assert load_certificate(*files(tmp_path, pem.chain, pem.key)).warnings == ()


def test_no_subject_alt_name(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = load_certificate(*files(tmp_path, self_signed(key, san=None), key_pem(key)))
    assert certificate.names == ("plain.test",)
    assert "subjectAltName" in certificate.warnings[0]


def test_weak_signature(tmp_path):
    # cryptography does not sign with SHA-1 any more; OpenSSL's command line was used for this one
    pem = (Path(__file__).parent / "vectors" / "certs" / "sha1-signed.pem").read_bytes()
    leaf, _, key = pem.partition(b"-----BEGIN PRIVATE KEY-----")
    with pytest.raises(CertificateError, match="is signed with SHA1, which clients refuse"):
        load_certificate(*files(tmp_path, leaf, b"-----BEGIN PRIVATE KEY-----" + key))


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (rsa.generate_private_key(65537, 1024), "an RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP192R1()), "a key on the curve secp192r1"),
    ],
    ids=["RSA", "EC"],
)
def test_an_issuer_with_a_small_key(tmp_path, key, what):
    """OpenSSL takes such a chain, and then it refuses each handshake."""
    root = sign("Root", ca=True, now=NOW)
    issuer = sign("Old", root, key=key, ca=True, now=NOW)
    leaf = sign("a", issuer, names=["a.test"], now=NOW)
    with pytest.raises(CertificateError, match=f"its issuer 'old' has {what}"):
        load_certificate(*files(tmp_path, leaf.pem + issuer.pem, leaf.key_pem()))
    # a root is not sent, so nobody looks at its key
    leaf = sign("a", sign("Root", key=key, ca=True, now=NOW), names=["a.test"], now=NOW)
    assert load_certificate(*files(tmp_path, leaf.pem, leaf.key_pem())).names == ("a.test",)


def test_a_certificate_for_something_else_than_servers(tmp_path):
    pem = client_pem()
    assert "is not for TLS servers (extended key usage without serverAuth)" in " ".join(
        load_certificate(*files(tmp_path, pem.chain, pem.key)).warnings
    )
    usage = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
    pem = authority().issue("localhost", usage=usage)
    (warning,) = load_certificate(*files(tmp_path, pem.chain, pem.key)).warnings
    assert warning.startswith("its key may not sign (key usage without digitalSignature)")


def test_self_signed(tmp_path):
    pem = self_signed_pem()
    assert "localhost" in load_certificate(*files(tmp_path, pem.chain, pem.key)).names


# Encrypted keys

PASSWORD = b"correct horse \xc3\xa4"


@pytest.mark.parametrize("traditional", [False, True], ids=["PKCS#8", "traditional"])
@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
@pytest.mark.parametrize(
    "line", [PASSWORD, PASSWORD + b"\n", PASSWORD + b"\r\nsecond line\n", b"\xef\xbb\xbf" + PASSWORD + b"\r\n"]
)
def test_encrypted_key(tmp_path, traditional, kind, line):
    signed = sign("a", names=["a.test"], key=rsa_key() if kind == "RSA" else None, now=NOW)
    cert_path, key_path = files(tmp_path, signed.pem, signed.key_pem(PASSWORD, traditional=traditional))
    assert b"ENCRYPTED" in key_path.read_bytes()
    certificate = load_certificate(cert_path, key_path, password_file=write(tmp_path, "a.pass", line))
    assert certificate.key_pem == signed.key_pem()
    assert certificate.key_type == kind


@pytest.mark.parametrize("traditional", [False, True], ids=["PKCS#8", "traditional"])
def test_wrong_password(tmp_path, traditional):
    signed = sign("a", names=["a.test"], now=NOW)
    paths = files(tmp_path, signed.pem, signed.key_pem(PASSWORD, traditional=traditional))
    password_file = write(tmp_path, "a.pass", b"open sesame\n")
    with pytest.raises(CertificateError) as caught:
        load_certificate(*paths, password_file=password_file)
    assert caught.value.fault == f"cannot be decrypted with the password in {password_file}"
    assert caught.value.path == paths[1]
    trace = "".join(traceback.format_exception(caught.value))
    assert "sesame" not in trace + repr(caught.value) + caught.value.remedy


@pytest.mark.parametrize("traditional", [False, True], ids=["PKCS#8", "traditional"])
def test_no_password(tmp_path, traditional):
    signed = sign("a", names=["a.test"], now=NOW)
    paths = files(tmp_path, signed.pem, signed.key_pem(PASSWORD, traditional=traditional))
    with pytest.raises(CertificateError, match="is encrypted, and no password is given") as caught:
        load_certificate(*paths)
    assert 'key_password_file = "FILE"' in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "this password file does not exist"),
        (b"", "has no password in its first line"),
        (b"\nsecret", "has no password in its first line"),
    ],
)
def test_bad_password_file(tmp_path, content, fault):
    signed = sign("a", names=["a.test"], now=NOW)
    paths = files(tmp_path, signed.pem, signed.key_pem(PASSWORD))
    password_file = tmp_path / "a.pass"
    if content is not None:
        write(tmp_path, "a.pass", content)
    with pytest.raises(CertificateError) as caught:
        load_certificate(*paths, password_file=password_file)
    assert caught.value.fault == fault
    assert caught.value.path == password_file


def test_password_of_a_key_that_is_not_encrypted_is_not_read(tmp_path):
    signed = sign("a", names=["a.test"], now=NOW)
    paths = files(tmp_path, signed.pem, signed.key_pem())
    assert load_certificate(*paths, password_file=tmp_path / "absent").key_pem == signed.key_pem()


def test_encryption_that_is_not_known(tmp_path):
    signed = sign("a", names=["a.test"], now=NOW)
    odd = signed.key_pem(PASSWORD, traditional=True).replace(b"AES-256-CBC", b"ARIA-256-CBC")
    paths = files(tmp_path, signed.pem, odd)
    with pytest.raises(CertificateError, match="cannot be decrypted") as caught:
        load_certificate(*paths, password_file=write(tmp_path, "a.pass", PASSWORD))
    assert "openssl pkcs8 -topk8" in caught.value.remedy


# Names


@pytest.mark.parametrize(
    "bad",
    [
        "*.*.a.test", "a*.a.test", "*a.a.test", "www.*.test", "*", "*.", "a\0b.test", "b\u00fccher.test", "10.0.0.1",
        "a b.test", "", ".", "a..test", "https://a.test", "a" * 300 + ".test", "user@a.test",
    ],
)  # fmt: skip
def test_names_that_tls_does_not_know_are_ignored(tmp_path, bad):
    signed = sign("a", names=["good.test", bad, "*.good.test"], now=NOW)
    certificate = load_certificate(*files(tmp_path, signed.pem, signed.key_pem()))
    assert certificate.names == ("good.test", "*.good.test")
    (warning,) = certificate.warnings
    assert warning.startswith("has names that TLS does not know, which are ignored: ")
    assert warning.isprintable()
    assert len(warning) < 200


def test_only_names_that_tls_does_not_know(tmp_path):
    signed = sign("cn.test", names=["*.*.test"], now=NOW)
    assert load_certificate(*files(tmp_path, signed.pem, signed.key_pem())).names == ()


@pytest.mark.parametrize("bad", ["a\0b.test", "b\u00fccher.test", "a*.test", "Example Company Ltd"])
def test_common_names_that_are_no_names(tmp_path, bad):
    signed = sign(bad, now=NOW)
    certificate = load_certificate(*files(tmp_path, signed.pem, signed.key_pem()))
    assert certificate.names == ()
    assert "has no subjectAltName" in certificate.warnings[0]


def test_a_labels_underscores_and_single_labels_are_names(tmp_path):
    names = ["xn--bcher-kva.test", "_dmarc.a.test", "intranet", "*.a.test", "ip:192.0.2.1", "ip:2001:db8::1"]
    signed = sign("a", names=names, now=NOW)
    certificate = load_certificate(*files(tmp_path, signed.pem, signed.key_pem()))
    assert certificate.names == (*names[:4], "192.0.2.1", "2001:db8::1")
    assert certificate.warnings == ()


def test_kind_of_key_names_the_curve(tmp_path):
    for key, kind in ((ec.generate_private_key(ec.SECP384R1()), "ECDSA P-384"), (rsa_key(), "RSA")):
        signed = sign("a", names=["a.test"], key=key, now=NOW)
        assert load_certificate(*files(tmp_path, signed.pem, signed.key_pem())).key_kind == kind


def test_a_key_for_rsa_pss_alone(tmp_path):
    """OpenSSL takes it, and then every handshake would fail."""
    signed = for_pss_alone(sign("a", names=["a.test"], key=rsa_key(), now=NOW))
    paths = files(tmp_path, signed.pem, signed.key_pem())
    for load in (load_certificate, index_file):
        with pytest.raises(CertificateError, match=r"has a kind of key that cannot be used \(RSA-PSS\); use an ECDSA"):
            load(*paths)
    with pytest.raises(ContextError, match="for RSA-PSS alone"):
        server_context([(signed.pem, signed.key_pem())])


def test_too_large(tmp_path):
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(CertificateError, match="is too large for a certificate file"):
        load_chain(path)


def test_key_that_everyone_can_read(tmp_path):
    pem = server_pem()
    paths = files(tmp_path, pem.chain, pem.key)
    os.chmod(paths[1], 0o644)
    assert "can be read by every user" in load_certificate(*paths).warnings[0]


# Damaged certificates

SITE = sign(
    "site", sign("Issuer", ca=True, now=NOW), names=["a.test", "*.a.test", "ip:192.0.2.1"], aia="http://a/", now=NOW
)
SITE_DER = SITE.certificate.public_bytes(serialization.Encoding.DER)


def as_pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(changes=st.lists(st.tuples(st.integers(0, len(SITE_DER) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_damage_is_an_error_of_ours_or_none(tmp_path, changes):
    der = bytearray(SITE_DER)
    for place, value in changes:
        der[place] = value
    paths = files(tmp_path, as_pem(bytes(der)), SITE.key_pem())
    for load in (
        lambda: load_certificate(*paths),
        lambda: index_file(*paths),
        lambda: load_certificate(*paths, now=NOW),
    ):
        with contextlib.suppress(CertificateError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cryptography, about serial numbers
            load()


def test_a_serial_number_that_is_not_positive(tmp_path):
    """It is said in our words; cryptography's have a line of our source with them."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = self_signed(key, san=[x509.DNSName("a.test")])
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    encoded = base64.encodebytes(der.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1))
    files(tmp_path, b"-----BEGIN CERTIFICATE-----\n" + encoded + b"-----END CERTIFICATE-----\n", key_pem(key))
    (tmp_path / "lockgate.toml").write_text(GOOD.replace(":8443", ":0"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "lockgate", "check", tmp_path / "lockgate.toml"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "site.pem: has a serial number that is not positive, so clients may refuse it; get another" in done.stderr
    assert "DeprecationWarning" not in done.stderr
