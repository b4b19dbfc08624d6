"""The access log is renamed and opened anew; it can be a named pipe, which nobody waits for."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from support_config import GOOD, one
from support_e2e import Service, wait_until
from support_serve import Backend, Start, backend, curl, flags, folder, site, start, url
from test_access_log import record

from lockgate.server.access_log import open_access_log

__all__ = ["backend", "folder", "start"]


def targets(path: Path) -> list[str]:
    """Of all whole lines."""
    return [json.loads(line)["target"] for line in path.read_text().splitlines()] if path.exists() else []


# -- the log itself ----------------------------------------------------------------------------------------------------


def test_a_renamed_file_is_left_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")
    log.log(record(target=b"/old"))
    wait_until(lambda: targets(path) == ["/old"], "the first line")
    path.rename(tmp_path / "access.log.1")
    log.reopen()
    log.log(record(target=b"/new"))
    log.release()
    assert targets(path) == ["/new"]
    assert targets(tmp_path / "access.log.1") == ["/old"]


def test_a_file_is_left_as_soon_as_there_is_a_descriptor_for_the_new_one(tmp_path: Path) -> None:
    """A worker whose clients had taken all of them went on in the old file until the next SIGHUP."""
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")
    log.log(record(target=b"/old"))
    wait_until(lambda: targets(path) == ["/old"], "the first line")
    path.rename(tmp_path / "access.log.1")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        lowest = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            log.reopen()
        log.log(record(target=b"/still"))
        wait_until(lambda: not log._waiting, "the second line")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    log.log(record(target=b"/new"))
    log.release()
    assert targets(path) == ["/new"]
    assert targets(tmp_path / "access.log.1") == ["/old", "/still"]


def test_no_line_is_lost_or_cut_while_it_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")
    done = threading.Event()

    def write() -> None:
        for number in range(3000):
            log.log(record(target=b"/%d" % number))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    turn = 0
    while not done.is_set():
        turn += 1
        path.rename(tmp_path / f"access.log.{turn}")
        log.reopen()
    writer.join()
    log.release()
    assert turn
    found = [target for file in tmp_path.iterdir() for target in targets(file)]
    assert sorted(found) == sorted(f"/{number}" for number in range(3000))


def test_a_file_that_cannot_be_opened_anew_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")
    path.rename(tmp_path / "access.log.1")
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        log.reopen()
    log.log(record(target=b"/a"))
    log.release()
    assert targets(tmp_path / "access.log.1") == ["/a"]


def test_a_named_pipe_is_opened_without_a_reader_who_may_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    log = open_access_log(path, "json")
    for target in ("/before", "/after"):
        log.log(record(target=target.encode()))
        with path.open() as reader:
            assert json.loads(reader.readline())["target"] == target
    log.log(record(target=b"/x" * 10000))
    with path.open() as reader:
        assert len(reader.readline()) <= 4096, "one piece"
    log.release()


# -- what check says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "socket"])
def test_what_no_log_can_be_written_to(folder: Path, kind: str) -> None:
    path = folder / "log"
    if kind == "folder":
        path.mkdir()
        says = "is a folder; give a file in it"
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        says = "is no file; give a file or a named pipe"
    assert says in one(folder, f'access_log = "log"\n{GOOD}')[1]


# -- through serve -----------------------------------------------------------------------------------------------------


def ask(folder: Path, service: Service, path: str) -> None:
    assert curl(folder, f"{url(service)}{path}").startswith("app")


@pytest.mark.parametrize("changed", ["nothing", "configuration", "mistake"])
def test_all_workers_write_to_the_new_file_after_sighup(
    folder: Path, backend: Backend, start: Start, changed: str
) -> None:
    log, old = folder / "access.log", folder / "access.log.1"
    service = start(text=f'workers = 2\naccess_log = "access.log"\n{site(backend.address)}')
    for _ in range(8):
        ask(folder, service, "/old")
    wait_until(lambda: len(targets(log)) == 8, "the first lines")
    log.rename(old)
    if changed != "nothing":
        file = folder / "lockgate.toml"
        more = "[limits]\nidle_timeout = 5\n" if changed == "configuration" else "[limits]\nidle = 5\n"
        file.write_text(file.read_text() + more)
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(log.exists, "the new file")
    if changed == "mistake":
        wait_until(lambda: "nothing is changed" in service.output(), "the complaint")

    def writers() -> set[int]:
        """The processes that have the old file open."""
        found = set()
        for pid in service.processes():
            descriptors = []
            with suppress(FileNotFoundError):  # a worker that has ended meanwhile
                descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
            for fd in descriptors:
                try:
                    if os.stat(fd).st_ino == old.stat().st_ino:
                        found.add(pid)
                except OSError:
                    continue
        return found

    wait_until(lambda: not writers(), "all processes to leave the old file")
    for _ in range(8):
        ask(folder, service, "/new")
    wait_until(lambda: len(targets(log)) == 8, "the new lines")
    assert targets(old) == ["/old"] * 8
    assert set(targets(log)) == {"/new"}


def test_a_worker_that_takes_the_place_of_another_writes_to_the_new_file(
    folder: Path, backend: Backend, start: Start
) -> None:
    log = folder / "access.log"
    service = start(*flags(folder, backend, "--access-log", str(log)))
    log.rename(folder / "access.log.1")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(log.exists, "the new file")
    (worker,) = service.processes()[1:]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: service.processes()[1:] not in ([], [worker]), "another worker")
    ask(folder, service, "/new")
    wait_until(lambda: targets(log) == ["/new"], "its line in the new file")


def test_serve_with_a_named_pipe_starts_without_a_reader(folder: Path, backend: Backend, start: Start) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    service = start(*flags(folder, backend, "--access-log", str(pipe)))
    ask(folder, service, "/a")
    with pipe.open() as reader:
        assert json.loads(reader.readline())["target"] == "/a"
    assert service.terminate() == 0
