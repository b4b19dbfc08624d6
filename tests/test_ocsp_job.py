"""Answers are asked for, kept, and handed to contexts: against a real responder over HTTP, in virtual time."""

from __future__ import annotations

import gc
import logging
import os
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from support_ocsp import NOW, answer, certificate, chain_of, hours
from support_tls import Pem, rsa_pem, server_pem

from lockgate.certs import ocsp_folder
from lockgate.certs.ocsp import FIRST_PAUSE, MAX_STAPLE, OcspError, Question, question
from lockgate.certs.ocsp_folder import WANTED_AGAIN, WANTED_FOR, OcspFolder
from lockgate.certs.state_files import StateError
from lockgate.core.tls.context import server_context
from lockgate.server.ocsp import LOOK_AGAIN, OcspJob, Unreachable
from lockgate.server.staples import AFTER_A_FAULT, Staples


def asked_about(pem: Pem) -> Question:
    found = question(chain_of(pem))
    assert found is not None
    return found


class Script:
    """What the responder will say: DER, or an error to raise. The last one is said again and again."""

    def __init__(self, *answers: bytes | OcspError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, asked: Question) -> bytes:
        self.asked.append(asked.name)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, OcspError):
            raise said
        return said


class Time:
    """Seconds since 1970, as slow as a test wants."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def folder(tmp_path: Path) -> OcspFolder:
    return OcspFolder(tmp_path)


def job_for(folder: OcspFolder, script: Script, clock: Time) -> OcspJob:
    return OcspJob(folder, fetch=script, clock=clock, chance=lambda: 1.0)


PEM = certificate()
LEAF = chain_of(PEM)[0]
NAME = LEAF.fingerprint(hashes.SHA256()).hex()


class TestFolder:
    def test_wanted(self, folder: OcspFolder, clock: Time) -> None:
        assert folder.want(chain_of(PEM), clock())
        assert not folder.want(chain_of(server_pem()), clock())
        assert not folder.want(chain_of(PEM)[:1], clock())
        wanted = folder.wanted(clock(), {})
        assert {name: (asked.leaf, asked.issuer, asked.url) for name, asked in wanted.items()} == {
            NAME: (*chain_of(PEM), "http://ocsp.test/")
        }
        assert folder.wanted(clock(), wanted)[NAME] is wanted[NAME]
        assert os.stat(folder.path).st_mode & 0o777 == 0o700

    def test_what_nobody_wants_any_more_goes(self, folder: OcspFolder, clock: Time) -> None:
        folder.want(chain_of(PEM), clock())
        folder.keep(NAME, answer(LEAF))
        os.utime(folder.path / f"{NAME}.pem", (clock.now, clock.now))
        clock.now += WANTED_FOR - 60
        assert folder.wanted(clock(), {})
        clock.now += 120
        assert not folder.wanted(clock(), {})
        assert not [path for path in folder.path.iterdir() if path.suffix in (".pem", ".der")]

    def test_wanted_again_each_day(self, folder: OcspFolder) -> None:
        folder.want(chain_of(PEM), time.time())
        path = folder.path / f"{NAME}.pem"
        for age, again in ((WANTED_AGAIN / 2, False), (WANTED_AGAIN + 5, True), (-1e6, True)):
            written = time.time() - age
            os.utime(path, (written, written))
            folder.want(chain_of(PEM), time.time())
            assert (abs(path.stat().st_mtime - written) > 1) == again

    def test_files_that_are_something_else(self, folder: OcspFolder, clock: Time) -> None:
        folder.want(chain_of(PEM), clock())
        (folder.path / f"{'0' * 64}.pem").write_bytes(PEM.chain)  # another name than that of its content
        (folder.path / f"{'1' * 64}.pem").write_bytes(b"no certificate")
        (folder.path / "x.pem").write_bytes(PEM.chain)
        (folder.path / f"{'2' * 64}.pem").mkdir()
        assert NAME in folder.wanted(clock(), folder.wanted(clock(), {}))


class TestJob:
    def test_asked_kept_and_renewed_half_way(self, folder: OcspFolder, clock: Time) -> None:
        folder.want(chain_of(PEM), clock())
        first, second = answer(LEAF), answer(LEAF, this_update=hours(13), next_update=hours(37))
        script = Script(first, second)
        job = job_for(folder, script, clock)
        assert job.run_due() == LOOK_AGAIN
        assert folder.answer(NAME) == first
        clock.now += 13 * 3600
        job.run_due()
        assert len(script.asked) == 1
        clock.now += 3600
        job.run_due()
        assert folder.answer(NAME) == second
        job.run_due()
        assert len(script.asked) == 2

    def test_a_new_process_goes_on_with_what_is_there(self, folder: OcspFolder, clock: Time) -> None:
        folder.want(chain_of(PEM), clock())
        job = job_for(folder, Script(answer(LEAF)), clock)
        job.run_due()
        script = Script(answer(LEAF))
        other = job_for(folder, script, clock)
        other.run_due()
        job.close()
        other.run_due()
        assert script.asked == []
        clock.now += 24 * 3600
        other.run_due()
        assert script.asked == [NAME]

    def test_one_asks_for_all(self, folder: OcspFolder, clock: Time) -> None:
        folder.want(chain_of(PEM), clock())
        script = Script(Unreachable("down"))
        jobs = [job_for(folder, script, clock) for _ in range(3)]
        for _ in range(3):
            for job in jobs:
                assert 0 < job.run_due() <= LOOK_AGAIN
        assert script.asked == [NAME]

    @pytest.mark.parametrize(
        "bad",
        [
            Unreachable("down"),
            OcspError("odd"),
            b"garbage",
            answer(LEAF, this_update=hours(-9), next_update=hours(-1)),
            answer(chain_of(certificate())[0]),
            answer(LEAF, status=ocsp.OCSPCertStatus.UNKNOWN),
        ],
        ids=["down", "error", "garbage", "over", "other certificate", "unknown"],
    )
    def test_outage(
        self, folder: OcspFolder, clock: Time, bad: bytes | OcspError, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The old answer stays, questions become rare, and when the responder is back all is well."""
        folder.want(chain_of(PEM), clock())
        good = answer(LEAF)
        script = Script(good, bad)
        job = job_for(folder, script, clock)
        job.run_due()
        times = []
        clock.now += 14 * 3600
        until = clock.now + 4 * 3600
        with caplog.at_level(logging.WARNING):
            while clock.now < until:
                count = len(script.asked)
                wait = job.run_due()
                if len(script.asked) > count:
                    times.append(clock.now)
                assert folder.answer(NAME) == good
                assert wait <= LOOK_AGAIN
                clock.now += 30
        assert 6 <= len(times) <= 10
        assert times[1] - times[0] == pytest.approx(FIRST_PAUSE, abs=30)
        assert "the last answer is valid until" in caplog.text
        script.answers = [answer(LEAF, this_update=hours(14), next_update=hours(60))]
        clock.now += 3600
        job.run_due()
        assert folder.answer(NAME) == script.answers[0]

    def test_nothing_yet_for_a_certificate_that_demands_it(
        self, folder: OcspFolder, clock: Time, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder.want(chain_of(certificate(must_staple=True)), clock())
        with caplog.at_level(logging.WARNING):
            job_for(folder, Script(Unreachable("down")), clock).run_due()
        assert "DEMANDS IT" in caplog.text

    def test_revoked(self, folder: OcspFolder, clock: Time, caplog: pytest.LogCaptureFixture) -> None:
        folder.want(chain_of(PEM), clock())
        revoked = answer(LEAF, status=ocsp.OCSPCertStatus.REVOKED)
        job = job_for(folder, Script(answer(LEAF), revoked), clock)
        job.run_due()
        clock.now += 14 * 3600
        with caplog.at_level(logging.WARNING):
            job.run_due()
        assert folder.answer(NAME) is None
        assert "is revoked" in caplog.text

    def test_a_dead_responder_is_tried_once_for_all_its_certificates(self, folder: OcspFolder, clock: Time) -> None:
        pems = [certificate("http://dead.test/") for _ in range(3)] + [PEM]
        for pem in pems:
            folder.want(chain_of(pem), clock())

        def dead(asked: Question) -> bytes:
            tried.append(asked.url)
            if "dead" in asked.url:
                raise Unreachable("down")
            return answer(asked.leaf)

        tried: list[str] = []
        OcspJob(folder, fetch=dead, clock=clock).run_due()
        assert sorted(tried) == ["http://dead.test/", "http://ocsp.test/"]
        assert folder.answer(NAME) is not None

    def test_a_bug_with_one_answer_keeps_no_other_from_being_asked_for(
        self, folder: OcspFolder, clock: Time, caplog: pytest.LogCaptureFixture
    ) -> None:
        pems = [certificate(names=(name,)) for name in ("a.test", "b.test", "c.test")]
        leaves = {asked_about(pem).name: chain_of(pem)[0] for pem in pems}
        for pem in pems:
            folder.want(chain_of(pem), clock.now)
        first = min(leaves)
        asked_for: list[str] = []

        def fetch(asked: Question) -> bytes:
            asked_for.append(asked.name)
            if asked.name == first:
                raise KeyError("what nobody has thought of")
            return answer(leaves[asked.name])

        job = OcspJob(folder, fetch=fetch, clock=clock, chance=lambda: 1.0)
        job.run_due()
        assert [folder.answer(name) is not None for name in sorted(leaves)] == [False, True, True]
        job.run_due()
        assert asked_for.count(first) == 1, "it has its pause"
        assert "a bug (KeyError)" in caplog.text
        job.close()

    def test_the_clock_is_set_back(self, folder: OcspFolder, clock: Time) -> None:
        folder.want(chain_of(PEM), clock())
        script = Script(answer(LEAF))
        job = job_for(folder, script, clock)
        job.run_due()
        clock.now -= 3 * 365 * 86400
        job.run_due()
        assert len(script.asked) == 2, "all is of the future now; what was planned means nothing"
        clock.now += 3 * 365 * 86400
        folder.want(chain_of(PEM), clock())
        job.run_due()
        assert len(script.asked) == 3
        assert folder.answer(NAME) is not None

    def test_a_folder_that_cannot_be_written(
        self, tmp_path: Path, clock: Time, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "ocsp").write_text("a file")
        job = job_for(OcspFolder(tmp_path), Script(b""), clock)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert job.run_due() == LOOK_AGAIN
        assert len(caplog.records) == 1
        assert str(tmp_path) in caplog.text

    @pytest.mark.parametrize("status", [ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED])
    def test_a_full_disk_is_no_reason_to_ask_at_once_again(
        self, folder: OcspFolder, clock: Time, monkeypatch: pytest.MonkeyPatch, status: ocsp.OCSPCertStatus
    ) -> None:
        def full(*arguments: object) -> None:
            raise StateError(folder.path, "No space left on device", "make room on that disk")

        folder.want(chain_of(PEM), clock())
        monkeypatch.setattr(OcspFolder, "keep", full)
        monkeypatch.setattr(OcspFolder, "forget", full)
        script = Script(answer(LEAF, status=status))
        job = job_for(folder, script, clock)
        for _ in range(5):
            assert job.run_due() == LOOK_AGAIN
            clock.now += LOOK_AGAIN
        assert len(script.asked) == 1
        monkeypatch.undo()
        clock.now += FIRST_PAUSE
        job.run_due()
        assert len(script.asked) == 2
        assert (folder.answer(NAME) is None) == (status is ocsp.OCSPCertStatus.REVOKED)


class TestStaples:
    def test_from_the_folder_into_the_context(self, folder: OcspFolder, clock: Time) -> None:
        staples = Staples(folder, clock=clock)
        context = server_context([PEM.pair])
        staples.watch(context, [PEM.chain])
        assert context.staples == {}
        job_for(folder, Script(answer(LEAF)), clock).run_due()
        staples.refresh()
        assert context.staples == {context.leaves[0]: answer_of(folder)}

    def test_there_already(self, folder: OcspFolder, clock: Time) -> None:
        folder.want(chain_of(PEM), clock())
        folder.keep(NAME, answer(LEAF))
        context = server_context([PEM.pair])
        Staples(folder, clock=clock).watch(context, [PEM.chain])
        assert context.staples

    def test_over(self, folder: OcspFolder, clock: Time) -> None:
        staples = Staples(folder, clock=clock)
        context = server_context([PEM.pair])
        staples.watch(context, [PEM.chain])
        folder.keep(NAME, answer(LEAF))
        staples.refresh()
        clock.now += 24 * 3600 - 1
        staples.refresh()
        assert context.staples
        clock.now += 1
        staples.refresh()
        assert context.staples == {}
        clock.now -= 5 * 3600  # the clock had been wrong
        staples.refresh()
        assert context.staples

    def test_exchanged_at_once_although_the_folder_looks_as_before(self, folder: OcspFolder, clock: Time) -> None:
        staples = Staples(folder, clock=clock)
        context = server_context([PEM.pair])
        staples.watch(context, [PEM.chain])
        clock.now = time.time()
        for padding in range(5):
            folder.keep(NAME, answer(LEAF, padding=padding))
            staples.refresh()
            assert context.staples[context.leaves[0]] == answer_of(folder)

    def test_looked_at_only_if_something_has_changed(
        self, folder: OcspFolder, clock: Time, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        staples = Staples(folder, clock=clock)
        context = server_context([PEM.pair])
        staples.watch(context, [PEM.chain])
        folder.keep(NAME, answer(LEAF))
        clock.now = time.time() + 60
        staples.refresh()
        reads: list[str] = []
        original = folder.answer
        monkeypatch.setattr(OcspFolder, "answer", lambda self, name: reads.append(name) or original(name))
        staples.refresh()
        assert reads == []
        folder.forget(NAME)
        staples.refresh()
        assert reads
        assert context.staples == {}

    def test_two_certificates(self, folder: OcspFolder, clock: Time) -> None:
        context = server_context([PEM.pair, rsa_pem().pair])
        staples = Staples(folder, clock=clock)
        staples.watch(context, [PEM.chain, rsa_pem().chain])
        folder.keep(NAME, answer(LEAF))
        staples.refresh()
        assert list(context.staples) == [context.leaves[0]]

    def test_a_context_that_is_gone_is_forgotten(self, folder: OcspFolder, clock: Time) -> None:
        staples = Staples(folder, clock=clock)
        context = server_context([PEM.pair])
        staples.watch(context, [PEM.chain])
        assert len(staples) == 1
        del context
        gc.collect()
        assert len(staples) == 0

    def test_certificates_without_a_responder_leave_no_trace(self, folder: OcspFolder, clock: Time) -> None:
        staples = Staples(folder, clock=clock)
        staples.watch(server_context([server_pem().pair]), [server_pem().chain])
        assert len(staples) == 0
        assert not folder.path.exists()

    @pytest.mark.parametrize("stored", [b"", b"garbage", bytes(MAX_STAPLE + 1), answer(LEAF, next_update=hours(-0.5))])
    def test_a_damaged_file_is_not_stapled(self, folder: OcspFolder, clock: Time, stored: bytes) -> None:
        staples = Staples(folder, clock=clock)
        context = server_context([PEM.pair])
        staples.watch(context, [PEM.chain])
        folder.keep(NAME, stored)
        staples.refresh()
        assert context.staples == {}

    def test_no_folder(self, tmp_path: Path, clock: Time, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "ocsp").write_text("a file")
        staples = Staples(OcspFolder(tmp_path), clock=clock)
        context = server_context([PEM.pair])
        with caplog.at_level(logging.WARNING):
            staples.watch(context, [PEM.chain])
            staples.refresh()
        assert context.staples == {}
        assert len(caplog.records) == 1

    def test_what_could_not_be_wanted_is_wanted_again(
        self, folder: OcspFolder, clock: Time, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The disk was full when the certificate came into service."""

        def full(path: Path, *rest: object) -> None:
            raise StateError(path, "No space left on device", "make room on that disk")

        staples = Staples(folder, clock=clock)
        context = server_context([PEM.pair])
        with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
            patched.setattr(ocsp_folder, "write_file", full)
            staples.watch(context, [PEM.chain])
            staples.refresh()
        assert len(caplog.records) == 1
        clock.now += AFTER_A_FAULT
        staples.refresh()
        assert job_for(folder, Script(answer(LEAF)), clock).run_due() == LOOK_AGAIN
        staples.refresh()
        assert context.staples == {context.leaves[0]: answer_of(folder)}


def answer_of(folder: OcspFolder) -> bytes:
    found = folder.answer(NAME)
    assert found is not None
    return found
