"""Certificates and keys that are not PEM: what is said of them, and that what is said to do about it does it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from support_certs import sign, write

from lockgate.certs.files import CertificateError
from lockgate.certs.store import load_chain, load_key

SITE = sign("a.test", names=["a.test"])
DER = serialization.Encoding.DER
PKCS12 = pkcs12.serialize_key_and_certificates(
    b"site", SITE.key, SITE.certificate, None, serialization.BestAvailableEncryption(b"secret")
)
KEY = SITE.key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def follow(remedy: str, path: Path, *more: str) -> Path:
    """Do what is said to do; where the new file is."""
    told = re.match(r"convert it: (openssl .+?)(, and|$)", remedy)
    assert told is not None
    new = path.with_suffix(".new.pem")
    command = [
        str(path) if word == "FILE" else str(new) if word == "FILE.pem" else word for word in shlex.split(told[1])
    ]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return new


@pytest.mark.parametrize("load", [load_chain, load_key])
def test_pkcs_12(tmp_path, load):
    path = write(tmp_path, "site.pfx", PKCS12)
    with pytest.raises(CertificateError) as caught:
        load(path)
    assert caught.value.fault == "is a PKCS#12 file (.p12, .pfx), not PEM"
    new = follow(caught.value.remedy, path, "-passin", "pass:secret")
    assert load_chain(new) == [SITE.certificate]
    assert load_key(new).public_key() == SITE.key.public_key()


def test_a_certificate_in_der(tmp_path):
    path = write(tmp_path, "site.der", SITE.certificate.public_bytes(DER))
    with pytest.raises(CertificateError, match="is in DER form, not PEM") as caught:
        load_chain(path)
    assert load_chain(follow(caught.value.remedy, path)) == [SITE.certificate]


def test_a_key_in_der(tmp_path):
    path = write(tmp_path, "site.key", KEY)
    with pytest.raises(CertificateError, match="is in DER form, not PEM") as caught:
        load_key(path)
    assert load_key(follow(caught.value.remedy, path)).public_key() == SITE.key.public_key()


@pytest.mark.parametrize("data", [b"", b"0", b"0\x82", b"\x30\x80\x02", b"\0\x30", b"text"])
def test_what_is_neither(tmp_path, data):
    path = write(tmp_path, "site", data)
    for load in (load_chain, load_key):
        with pytest.raises(CertificateError, match=r"not PEM|not a PEM file"):
            load(path)
