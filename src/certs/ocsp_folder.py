"""The folder of OCSP answers, through which those who serve a certificate and the one who asks for it deal with each other:

    STATE/ocsp/NAME.pem     somebody serves this certificate (the file has it and its issuer) and wants an answer
              /NAME.der     the answer, judged before it was written
              /lock         held by the process that asks

NAME is the SHA-256 of the certificate, in hexadecimal. Who serves writes `.pem` files, and again each day (`WANTED_AGAIN`);
those that are older than `WANTED_FOR` are about certificates that nobody serves any more. So it does not matter in which
process, or on which of several machines with a common folder, anybody runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .ocsp import Question, question
from .state_files import StateError, locked, make_folder, read_file, remove_file, remove_leftovers, write_file

WANTED_AGAIN = 86400.0
WANTED_FOR = 3 * 86400.0
"""Seconds."""
LEFTOVER_AGE = 3600.0
NAME = re.compile(r"[0-9a-f]{64}")


class OcspFolder:
    """`state` is the state folder. Methods raise `StateError` where files cannot be read or written. Times: since 1970."""

    def __init__(self, state: Path) -> None:
        self.path = state / "ocsp"

    def want(self, chain: Sequence[x509.Certificate], now: float) -> bool:
        """Note that this chain is served, if there is an answer to be had for it; False if there is not."""
        asked = question(chain)
        if asked is None:
            return False
        path = self.path / f"{asked.name}.pem"
        if _age(path, now) > WANTED_AGAIN:
            make_folder(self.path)
            write_file(path, b"".join(one.public_bytes(Encoding.PEM) for one in chain[:2]))
        return True

    def wanted(self, now: float, known: Mapping[str, Question]) -> dict[str, Question]:
        """All questions by name; those that are `known` are not read again.

        Removes those that nobody has asked for some time, and their answers.
        """
        found = {}
        for name in self._names(".pem"):
            path = self.path / f"{name}.pem"
            if _age(path, now) > WANTED_FOR:
                remove_file(path)
                remove_file(self.path / f"{name}.der")
                continue
            asked = known[name] if name in known else _read_question(path)
            if asked is not None and asked.name == name:
                found[name] = asked
        remove_leftovers(self.path, now - LEFTOVER_AGE)
        return found

    def answer(self, name: str) -> bytes | None:
        """The answer for a certificate (DER), None if there is none."""
        return read_file(self.path / f"{name}.der")

    def keep(self, name: str, der: bytes) -> None:
        """Put an answer in the place of the last one."""
        write_file(self.path / f"{name}.der", der)

    def forget(self, name: str) -> None:
        """The last answer is true no more."""
        remove_file(self.path / f"{name}.der")

    def lock(self) -> AbstractContextManager[bool]:
        """To be held by the one who asks: False if there is another one."""
        make_folder(self.path)
        return locked(self.path / "lock")

    def version(self) -> int:
        """Another number whenever files have come or gone, if some seconds lie between two looks; 0 without a folder."""
        try:
            return os.stat(self.path).st_mtime_ns
        except OSError:
            return 0

    def _names(self, ending: str) -> list[str]:
        with suppress(OSError):
            entries = os.listdir(self.path)
            return sorted(
                entry.removesuffix(ending)
                for entry in entries
                if entry.endswith(ending) and NAME.fullmatch(entry.removesuffix(ending))
            )
        return []


def _age(path: Path, now: float) -> float:
    """Seconds since it was written, much if it is not there or was written in the future (a clock that was set back)."""
    try:
        age = now - path.stat().st_mtime
    except OSError:
        return float("inf")
    return age if age > -60.0 else WANTED_AGAIN + 1


def _read_question(path: Path) -> Question | None:
    """What is asked in a file; None if it is something else, which harms no other."""
    try:
        return question(x509.load_pem_x509_certificates(read_file(path) or b""))
    except (StateError, ValueError):
        return None
