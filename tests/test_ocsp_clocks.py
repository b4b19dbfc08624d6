"""OCSP answers when the clock jumps, or the machine has slept: nothing is lost before somebody could say what is wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from support_ocsp import NOW, answer, certificate, chain_of

from lockgate.certs.ocsp import OcspError
from lockgate.certs.ocsp_folder import WANTED_FOR, OcspFolder
from lockgate.server.ocsp import LOOK_AGAIN, OcspJob

YEAR = 365 * 86400.0
CHAIN = chain_of(certificate())
NAME = CHAIN[0].fingerprint(hashes.SHA256()).hex()


class Served:
    """A job that asks a responder, which may be down, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW.timestamp()
        self.down = False
        self.asked = 0
        self.folder = OcspFolder(folder)
        self.want()
        self.job = OcspJob(self.folder, fetch=lambda asked: self.fetch(), clock=lambda: self.now, chance=lambda: 1.0)
        self.look()
        assert self.folder.answer(NAME) is not None

    def want(self) -> None:
        """As one that serves the certificate does; the file system has the same clock."""
        self.folder.want(CHAIN, self.now)
        os.utime(self.folder.path / f"{NAME}.pem", (self.now, self.now))

    def fetch(self) -> bytes:
        self.asked += 1
        if self.down:
            raise OcspError("down")
        return answer(CHAIN[0])

    def look(self) -> None:
        self.now += self.job.run_due()


@pytest.fixture
def served(tmp_path: Path):
    made = Served(tmp_path)
    yield made
    made.job.close()


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_a_jump_and_back_loses_no_answer(served, jump):
    served.down = True
    served.now += jump
    served.look()
    served.want()  # as staples do every other second
    for _ in range(20):
        served.look()
    assert served.asked < 20, "nor is anybody asked again and again"
    served.now -= jump
    served.look()
    assert served.folder.answer(NAME) is not None


def test_what_nobody_wants_goes_all_the_same(served):
    served.now += WANTED_FOR + 60
    served.look()
    assert served.folder.answer(NAME) is not None
    served.now += LOOK_AGAIN
    served.look()
    assert served.folder.answer(NAME) is None
