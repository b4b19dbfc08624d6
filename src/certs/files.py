"""Reading the files that certificates and keys are in; every fault is a `CertificateError` with path and remedy."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from ..core.errors import LockgateError
from .regular import NotRegular, read_regular

UNREADABLE = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What `cryptography` raises for a certificate that is damaged or unheard of, when it is read or only when a part of it is."""

MAX_FILE = 4 * 1024 * 1024
"""Larger files hold something else: all authorities of a system are 0.2 MiB."""


class CertificateError(LockgateError):
    """A certificate or key cannot be used. `path` is the file, `fault` what is wrong, `remedy` what to do about it."""

    def __init__(self, path: Path | str, fault: str, remedy: str) -> None:
        super().__init__(f"{path}: {fault}; {remedy}")
        self.path = Path(path)
        self.fault = fault
        self.remedy = remedy


def read_file(path: Path | str, what: str, *, most: int = MAX_FILE) -> bytes:
    """The content of a regular file (`regular.py`), of which `what` says what should be in it. Never waits.

    `most`: bytes; larger ones are refused. Raises `CertificateError`.
    """
    try:
        data = read_regular(path, most + 1)
    except FileNotFoundError:
        raise CertificateError(path, f"this {what} file does not exist", "correct the path, or create it") from None
    except NotRegular as error:
        is_folder = os.path.isdir(path)
        remedy = f"give the {what} file itself" if is_folder else f"write the {what} into a regular file, and give that"
        raise CertificateError(path, str(error.strerror), remedy) from None
    except PermissionError:
        raise CertificateError(
            path, f"this {what} file may not be read", "let the user that runs lockgate read it"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path is not possible"
        raise CertificateError(path, f"cannot be read ({reason})", "give a readable file") from None
    if len(data) > most:
        raise CertificateError(path, f"is too large for a {what} file", f"give the {what} file itself")
    return data


def not_pem(path: Path | str, data: bytes, what: str, command: str) -> CertificateError:
    """What is to be said of a file without PEM in it, where a `what` should be. `command`: of openssl, that converts DER."""
    if data[:1] != b"\x30":  # SEQUENCE
        return CertificateError(path, "is not a PEM file", f"give a file that has -----BEGIN {what}----- in it")
    length = data[1:2]
    inside = 2 + (length[0] & 0x7F if length >= b"\x80" else 0)
    if data[inside : inside + 3] == b"\x02\x01\x03":  # version 3 (RFC 7292 section 4)
        remedy = "convert it: openssl pkcs12 -nodes -in FILE -out FILE.pem, and protect that with mode 0600"
        return CertificateError(path, "is a PKCS#12 file (.p12, .pfx), not PEM", remedy)
    return CertificateError(
        path, "is in DER form, not PEM", f"convert it: openssl {command} -inform DER -in FILE -out FILE.pem"
    )


def pem_kinds(data: bytes) -> str:
    """What kinds of PEM blocks the data has, for a message: labels only, never content."""
    labels = re.findall(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----", data)
    return " and ".join(dict.fromkeys(label.decode() for label in labels)) or "something else"


def readable_by_all(path: Path | str) -> bool:
    """Whether every user of this machine may read the file."""
    try:
        return bool(os.stat(path).st_mode & 0o004)
    except (OSError, ValueError):
        return False
