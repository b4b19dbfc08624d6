"""What may go wrong while one generation of workers takes the place of another: forks, hangs, signals, sockets' files."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_e2e import Service, started, wait_for_line, wait_until
from support_serve import ENVIRONMENT, Backend, Start, backend, curl, folder, site, start, url

from lockgate.server import sockets
from lockgate.server.serve import open_admin
from lockgate.server.values import Address

__all__ = ["backend", "folder", "start"]


SUPERVISE = """
import os, signal
import lockgate.server.supervisor as s
from lockgate.server.supervisor import Generation, Supervisor

def serve(number, ready):
    ready()
    signal.sigwait([signal.SIGTERM])

def hang(number, ready):
    signal.sigwait([signal.SIGTERM])

def generation(name, work=serve):
    return Generation(
        work, 2, 1.0, lambda: print(name, "in service", flush=True), lambda: print(name, "over", flush=True)
    )

fork = os.fork

def no_fork():
    raise BlockingIOError(11, "Resource temporarily unavailable")

def reload():
    {reload}

{before}
print("exit", Supervisor(generation("first"), reload=reload).run(), flush=True)
"""


@contextlib.contextmanager
def supervised(folder: Path, before: str = "", reload: str = "return None") -> Iterator[Service]:
    """A supervisor with two workers. `before`: what it does first; `reload`: what it does when it is asked for others."""
    code = SUPERVISE.format(before=before, reload=reload)
    with started([sys.executable, "-c", code], folder / "log", ENVIRONMENT) as service:
        yield service


def reloaded(service: Service) -> None:
    """Ask it for others, once the first ones are in service."""
    wait_for_line(service, "^first in service$")
    service.process.send_signal(signal.SIGHUP)


# -- generations -----------------------------------------------------------------------------------------------------


def test_a_new_generation_that_cannot_be_forked_leaves_the_old_one_in_service(tmp_path: Path) -> None:
    """A bound on processes (systemd's TasksMax), met when there are twice as many for a moment."""
    with supervised(tmp_path, reload="os.fork = no_fork; return generation('second')") as service:
        reloaded(service)
        wait_for_line(service, "^second over$")
        assert "Resource temporarily unavailable" in service.output()
        assert "the old configuration stays in service" in service.output()
        assert service.terminate() == 0
        assert service.output().endswith("exit 0\n")


def test_a_worker_that_cannot_be_forked_again_is_tried_later(tmp_path: Path) -> None:
    bound = tmp_path / "no more processes"
    fork = f"os.fork = lambda: no_fork() if os.path.exists({str(bound)!r}) else fork()"
    with supervised(tmp_path, fork) as service:
        wait_for_line(service, "^first in service$")
        bound.touch()
        os.kill(service.processes()[1], signal.SIGKILL)
        wait_for_line(service, "Resource temporarily unavailable")
        assert len(service.processes()) == 2
        bound.unlink()
        wait_until(lambda: len(service.processes()) == 3, "the worker to be replaced")
        assert service.terminate() == 0
        assert service.output().count("Resource temporarily unavailable") < 10
        assert service.output().endswith("exit 0\n")


def test_nobody_reads_what_the_supervisor_has_to_say(tmp_path: Path) -> None:
    """A pipe to a logger that has ended: all workers were killed with the message that one was replaced."""
    deaf = "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 2)"
    with supervised(tmp_path, deaf, "return generation('second')") as service:
        reloaded(service)
        wait_for_line(service, "^second in service$")
        wait_until(lambda: len(service.processes()) == 3, "the first ones to end")
        killed = service.processes()[1]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(service.processes()) == 3 and killed not in service.processes(), "another worker")
        assert service.terminate() == 0
        assert service.output().endswith("exit 0\n")


def test_workers_that_cannot_be_forked_at_all(tmp_path: Path) -> None:
    with supervised(tmp_path, "os.fork = no_fork") as service:
        service.wait()
        assert "Resource temporarily unavailable" in service.output()
        assert "giving up" in service.output()
        assert service.output().endswith("exit 1\n")


def test_a_new_generation_that_hangs_is_given_up(tmp_path: Path) -> None:
    """Otherwise no later SIGHUP would have an effect."""
    with supervised(tmp_path, "s.READY_TIMEOUT = 0.5", "return generation('second', hang)") as service:
        reloaded(service)
        wait_for_line(service, "^second over$")
        assert "the old configuration stays in service" in service.output()
        assert service.terminate() == 0
        assert service.output().endswith("exit 0\n")


def test_a_stop_while_a_new_generation_comes_up_leaves_nothing_of_it(tmp_path: Path) -> None:
    with supervised(tmp_path, reload="return generation('second', hang)") as service:
        reloaded(service)
        wait_until(lambda: len(service.processes()) == 5, "the new workers")
        family = service.processes()
        assert service.terminate() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in family)
        assert "second over" in service.output()
        assert service.output().endswith("exit 0\n")


# -- descriptors and files -------------------------------------------------------------------------------------------


def descriptors(service: Service) -> int:
    """Of the first process."""
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def test_reloads_that_fail_late_leak_nothing(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text="workers = 1\n" + site(backend.address))
    before = descriptors(service)
    file = folder / "lockgate.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file.write_text(f'access_log = "log"\nadmin = "127.0.0.1:{taken.getsockname()[1]}"\n' + file.read_text())
        for count in range(1, 6):
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda count=count: service.output().count("nothing is changed") == count, "the complaint")
    wait_until(lambda: descriptors(service) == before, "what was opened to be closed")
    assert curl(folder, url(service)).startswith("app")


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def test_the_file_of_another_process_is_not_removed(folder: Path, backend: Backend, start: Start) -> None:
    """A new one is started while the old one still drains."""
    path = folder / "sock"
    text = f'[limits]\ndrain_timeout = 1.5\n[[listen]]\naddress = "unix:{path}"\ntls = false\n'
    service = start(text="workers = 1\n" + site(backend.address) + text)
    with socket.socket(socket.AF_UNIX) as client, socket.socket(socket.AF_UNIX) as other:
        client.connect(str(path))
        client.send(b"GET / HTTP/1.1\r\n")
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not connects(path), "the old one to listen no more")
        path.unlink(missing_ok=True)
        other.bind(str(path))
        other.listen()
        assert service.wait() == 0
        assert path.exists()


def test_a_socket_whose_file_is_gone_is_opened_anew(folder: Path, backend: Backend, start: Start) -> None:
    """A folder that was cleaned. A reload said that the configuration is in service, and nobody could connect."""
    path = folder / "front.sock"
    text = f'[[listen]]\naddress = "unix:{path}"\ntls = false\n'
    service = start(text="workers = 1\n" + site(backend.address) + text)
    ask = ("--unix-socket", str(path), "http://localhost/")
    assert curl(folder, *ask).startswith("app")
    path.unlink()
    service.process.send_signal(signal.SIGHUP)
    wait_for_line(service, "the new configuration is in service")
    assert curl(folder, *ask).startswith("app")
    assert service.terminate() == 0
    assert not path.exists()


def test_the_file_of_a_socket_is_removed_once_and_only_if_it_is_ours(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "sock"))
    with sockets.open_socket(address) as sock:
        os.unlink(address.path)
        with sockets.open_socket(address) as other:
            sockets.remove_file(sock, address)
            assert os.path.exists(address.path)
            sockets.remove_file(other, address)
            assert not os.path.exists(address.path)


def test_the_file_of_a_passed_socket_stays(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "sock"))
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(address.path)
        sockets.remove_file(passed, address)
    assert os.path.exists(address.path)


def test_the_admin_socket_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not between bind and chmod either."""
    from lockgate.server.config import read_file

    seen = []
    listen = socket.socket.listen

    def watched(sock: socket.socket, backlog: int) -> None:
        seen.append(stat.S_IMODE(os.stat(sock.getsockname()).st_mode))
        listen(sock, backlog)

    (tmp_path / "lockgate.toml").write_text(f'admin = "unix:{tmp_path}/admin"\n')
    config = read_file(tmp_path / "lockgate.toml").config
    assert config.admin is not None
    monkeypatch.setattr(socket.socket, "listen", watched, raising=False)
    before = os.umask(0)
    try:
        open_admin(config, config.admin).close()
    finally:
        assert os.umask(before) == 0
    assert seen == [0o600]
