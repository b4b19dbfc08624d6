"""Folders with certificates, and what is found in them."""

from __future__ import annotations

import datetime
from pathlib import Path

from support_certs import Signed, sign, write

from lockgate.certs.directory import CertificateDirectory, Changes

DAY = datetime.timedelta(days=1)


def site(folder: Path, name: str, *names: str, **options: object) -> Signed:
    """A self-signed certificate in NAME.pem with its key in NAME.key."""
    signed = sign(name, names=list(names) or [f"{name}.test"], **options)
    write(folder, f"{name}.pem", signed.pem)
    write(folder, f"{name}.key", signed.key_pem())
    return signed


def encrypted(folder: Path, *certificates: str, password: bytes = b"secret") -> Path:
    """Sites whose keys are encrypted; the file with their password."""
    for name in certificates:
        signed = sign(name, names=[f"{name}.test"])
        write(folder, f"{name}.pem", signed.pem)
        write(folder, f"{name}.key", signed.key_pem(password))
    return write(folder, "pass", password + b"\n")


def scanned(folder: Path, password_file: Path | None = None) -> CertificateDirectory:
    directory = CertificateDirectory(folder, password_file)
    directory.scan()
    return directory


def names(directory: CertificateDirectory) -> list[str]:
    return [name for entry in directory.entries for name in entry.names]


def faults(directory: CertificateDirectory | Changes) -> list[tuple[str, str]]:
    return [(fault.path.name, fault.fault) for fault in directory.faults]
