"""Private keys from PEM files: PKCS#8 and the traditional forms of OpenSSL, both also encrypted with a password.

The password is the first line of a file of its own. Neither it nor anything of a key is ever part of a repr or of an
error's text.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from ..core.tls.choice import CURVES
from .files import CertificateError, not_pem, pem_kinds, read_file

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

KEY_REMEDY = "use an ECDSA (P-256) or RSA key"
MIN_RSA_BITS = 2048
"""Shorter RSA keys are refused by OpenSSL's security level 2 and by every browser."""


def load_key(path: Path | str, password_file: Path | str | None = None) -> PrivateKey:
    """The private key of a PEM file.

    `password_file`: the file whose first line is the password of an encrypted key; it is not read for one that is not
    encrypted. Raises `CertificateError`.
    """
    return parse_key(read_file(path, "key"), path, password_file)


def parse_key(
    data: bytes,
    path: Path | str,
    password_file: Path | str | None = None,
    password: bytes | None = None,
    *,
    verified: bool = True,
) -> PrivateKey:
    """The same for what is in the file `path`. `password`: what was in `password_file` when it was read; None: not read yet.

    Without `verified` it is not looked whether the numbers of an RSA key fit together, which takes long.
    """
    if b"PRIVATE KEY-----" not in data:
        if b"-----BEGIN" in data:
            raise CertificateError(
                path, "has no private key in it", f"give the file with the private key, not with {pem_kinds(data)}"
            )
        raise not_pem(path, data, "PRIVATE KEY", "pkey")
    key = _decode(path, data, password_file, password, verified=verified)
    if not isinstance(key, PrivateKey):
        raise CertificateError(path, f"has a kind of key that TLS cannot use ({type(key).__name__})", KEY_REMEDY)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise CertificateError(
            path, f"has an RSA key of {key.key_size} bits", f"use ECDSA P-256, or RSA with at least {MIN_RSA_BITS} bits"
        )
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        raise CertificateError(path, f"has a key on the curve {key.curve.name}", "use P-256 (secp256r1)")
    return key


def is_encrypted(path: Path | str) -> bool:
    """Whether the private key in a PEM file is encrypted. Raises `CertificateError` if it cannot be read."""
    return holds_encrypted(read_file(path, "key"))


def holds_encrypted(data: bytes) -> bool:
    """The same for what is in a file."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data or b"Proc-Type: 4,ENCRYPTED" in data


def _decode(
    path: Path | str, data: bytes, password_file: Path | str | None, password: bytes | None, *, verified: bool
) -> object:
    """The key in `data`, whatever it is good for."""
    if not holds_encrypted(data):
        password = None
    elif password is None:
        if password_file is None:
            raise CertificateError(
                path,
                "is encrypted, and no password is given",
                'add key_password_file = "FILE" with the password in its first line, or decrypt it: '
                "openssl pkey -in FILE -out FILE.plain, and protect that with mode 0600",
            )
        password = read_password(password_file)
    try:
        return serialization.load_pem_private_key(data, password, unsafe_skip_rsa_key_validation=not verified)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # cryptography does not tell a wrong password, an unknown cipher and damage apart in a way to build on.
        if password is not None:
            raise CertificateError(
                path,
                f"cannot be decrypted with the password in {password_file}",
                "correct the password; if it is right, encrypt the key anew: openssl pkcs8 -topk8 -v2 aes-256-cbc",
            ) from None
        raise CertificateError(
            path, "has a private key that cannot be decoded", "fetch the file again; it is damaged or cut off"
        ) from None


def read_password(path: Path | str) -> bytes:
    """The first line of a password file. Raises `CertificateError`."""
    password = read_file(path, "password").removeprefix(BOM_UTF8).partition(b"\n")[0].removesuffix(b"\r")
    if not password:
        raise CertificateError(path, "has no password in its first line", "write the password of the key there")
    return password
