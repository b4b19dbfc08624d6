"""`lockgate serve` while certificates and configuration change under it: nothing is dropped, a bad change changes nothing."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from support_config import write_pem
from support_e2e import PATIENCE, Service, wait_until
from support_serve import ADAPTERS, Backend, Download, Start, backend, curl, folder, running, site, start, url
from support_tls import Pem, authority, ssl_client_context

from lockgate.server.certificates import INTERVAL
from lockgate.server.certificates import PATIENCE as KEYS_PATIENCE

__all__ = ["backend", "folder", "start"]


def text(backend: Backend, adapter: str = "threads", more: str = "") -> str:
    return f'workers = 2\nadapter = "{adapter}"\n{site(backend.address)}{more}\n'


def replace(folder: Path, pem: Pem) -> None:
    """As a careful program does it: each file is replaced in one step, and the key is for its owner only."""
    for suffix, content in ((".key", pem.key), (".pem", pem.chain)):
        put(folder / f"site{suffix}", content)


def put(path: Path, content: bytes) -> None:
    """In one step: nobody who looks finds half of it."""
    path.with_name("new").write_bytes(content)
    path.with_name("new").chmod(0o600)
    path.with_name("new").replace(path)


def port_of(service: Service) -> int:
    return int(url(service).rpartition(":")[2])


def shown_names(service: Service, session: ssl.SSLSession | None = None) -> list[str]:
    """The names in the certificate that a new client is shown."""
    context = ssl_client_context()
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port_of(service)), timeout=PATIENCE) as sock,
        context.wrap_socket(sock, server_hostname="localhost", session=session) as secure,
    ):
        certificate = secure.getpeercert()
    assert certificate is not None
    return [value for _, value in certificate["subjectAltName"]]


def shows(service: Service, name: str) -> bool:
    """Whether that is one of them."""
    return name in shown_names(service)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_renewed_certificate_is_shown_to_new_clients_while_old_connections_stay(
    folder: Path, backend: Backend, start: Start, adapter: str
) -> None:
    service = start(text=text(backend, adapter))
    context = ssl_client_context()
    with (
        socket.create_connection(("127.0.0.1", port_of(service)), timeout=PATIENCE) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as old,
    ):
        replace(folder, authority().issue("localhost", "127.0.0.1", "renewed.test"))
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "is renewed" in service.output(), "the new certificate to be noticed")
        wait_until(lambda: "renewed.test" in shown_names(service), "it to be shown")
        old.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert old.recv(12) == b"HTTP/1.1 200"
        certificate = old.getpeercert()
        assert certificate is not None
        assert ("DNS", "renewed.test") not in certificate["subjectAltName"]
    assert curl(
        folder, "--resolve", f"localhost:{port_of(service)}:127.0.0.1", f"https://localhost:{port_of(service)}/"
    )


def test_changed_files_are_noticed_without_a_signal(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=text(backend))
    replace(folder, authority().issue("localhost", "127.0.0.1", "renewed.test"))
    wait_until(lambda: "is renewed" in service.output(), "the new certificate to be noticed")
    # The kernel chooses between two workers: that none of 20 connections meets the one that still has to look is no chance.
    wait_until(
        lambda: all("renewed.test" in shown_names(service) for _ in range(20)), "the new certificate in both workers"
    )
    assert service.output().count("is renewed") == 1, "one worker speaks for all"


def test_a_broken_file_leaves_the_old_certificate_in_service(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=text(backend))
    put(folder / "site.pem", b"-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "the certificate before it stays in service" in service.output(), "the complaint")
    assert "site.pem: has a certificate that cannot be decoded" in service.output()
    assert "renewed.test" not in shown_names(service)
    replace(folder, authority().issue("localhost", "renewed.test"))
    wait_until(lambda: "renewed.test" in shown_names(service), "the mended certificate to be shown")


def test_a_broken_file_is_complained_about_without_a_signal(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=text(backend))
    (folder / "site.key").unlink()
    wait_until(lambda: "the certificate before it stays in service" in service.output(), "the complaint")
    assert "this key file does not exist" in service.output()
    assert shown_names(service)


def test_a_key_that_comes_later_is_no_fault(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=text(backend))
    for number in range(5):
        name = f"renewed{number}.test"
        new = authority().issue("localhost", name)
        complaints = service.output().count("stays in service")
        begin = time.monotonic()
        put(folder / "site.pem", new.chain)
        time.sleep(1.5 * INTERVAL)  # long enough for a look at the half of it
        put(folder / "site.key", new.key)
        took = time.monotonic() - begin
        wait_until(partial(shows, service, name), "the new certificate to be shown")
        if took < KEYS_PATIENCE:
            break  # else we were not let run for so long that the key came too late: once more
    assert service.output().count("stays in service") == complaints


def test_names_that_a_new_certificate_does_not_have_are_told(folder: Path, backend: Backend, start: Start) -> None:
    replace(folder, authority().issue("localhost", "old.test", "127.0.0.1"))
    service = start(text=text(backend))
    replace(folder, authority().issue("localhost", "new.test"))
    wait_until(lambda: "is renewed" in service.output(), "the new certificate")
    assert "but it is not for 'old.test', '127.0.0.1' any more" in service.output()


def test_other_names_get_other_connections(folder: Path, backend: Backend, start: Start) -> None:
    """The names of a certificate decide who is misdirected: new names hold for new connections."""
    write_pem(folder, "other", authority().issue("other.test"))
    more = '[[certificate]]\n    cert = "other.pem"\n    key = "other.key"\n'
    service = start(text=text(backend) + more)
    address = f"https://new.test:{port_of(service)}/"
    resolve = ["--resolve", f"new.test:{port_of(service)}:127.0.0.1"]
    assert "exit code" in curl(folder, *resolve, address), "nobody has that name"
    replace(folder, authority().issue("localhost", "new.test"))
    wait_until(lambda: "is renewed" in service.output(), "the new certificate to be noticed")
    wait_until(lambda: "exit code" not in curl(folder, *resolve, address), "the new name to be served")


def resumes(service: Service, version: ssl.TLSVersion, times: int) -> int:
    """How many of so many new connections resume the session of a first one."""
    context = ssl_client_context(minimum_version=version, maximum_version=version)

    def connect(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        with (
            socket.create_connection(("127.0.0.1", port_of(service)), timeout=PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while secure.recv(4096):
                pass
            return bool(secure.session_reused), secure.session

    _, session = connect(None)
    return sum(connect(session)[0] for _ in range(times))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_in_all_workers_after_a_renewal(
    folder: Path, backend: Backend, start: Start, version: ssl.TLSVersion
) -> None:
    """Each worker has made a context of its own for the new certificate; the ticket keys are the ones from before."""
    service = start(text=text(backend, more="").replace("workers = 2", "workers = 3"))
    assert resumes(service, version, 12) == 12
    replace(folder, authority().issue("localhost", "renewed.test"))
    wait_until(lambda: all("renewed.test" in shown_names(service) for _ in range(12)), "all workers to notice")
    assert resumes(service, version, 12) == 12


def test_a_new_configuration_takes_over(folder: Path, backend: Backend, start: Start) -> None:
    with running(Backend("second")) as second:
        service = start(text=text(backend))
        before = set(service.processes())
        assert curl(folder, url(service)).startswith("app")
        (folder / "lockgate.toml").write_text(text(second))
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
        wait_until(lambda: curl(folder, url(service)).startswith("second"), "only new workers to answer")
        wait_until(lambda: len(set(service.processes()) & before) == 1, "the old workers to end")
        assert service.terminate() == 0


def test_a_request_that_runs_while_a_new_configuration_takes_over(folder: Path, backend: Backend, start: Start) -> None:
    with running(Backend("second")) as second:
        service = start(text=text(backend))
        download = Download(folder, service, backend)
        (folder / "lockgate.toml").write_text(text(second))
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
        wait_until(lambda: curl(folder, url(service)).startswith("second"), "the new workers to answer")
        backend.go_on.set()
        code, body = download.end()
        assert code == 0
        assert body


def test_a_new_configuration_with_a_mistake_changes_nothing(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=text(backend))
    before = set(service.processes())
    file = folder / "lockgate.toml"
    file.write_text(file.read_text().replace('backend = "app"', 'backend = "nobody"'))
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "nothing is changed" in service.output(), "the complaint")
    assert re.search(r'lockgate\.toml:\d+: there is no backend "nobody"', service.output())
    assert set(service.processes()) == before
    assert curl(folder, url(service)).startswith("app")


def test_listeners_come_and_go(folder: Path, backend: Backend, start: Start) -> None:
    """The port that both configurations have is never closed; one that is not there any more is."""
    service = start(text=text(backend))
    first = url(service)
    file = folder / "lockgate.toml"
    old = file.read_text()
    path = folder / "socket"
    file.write_text(old + f'[[listen]]\naddress = "unix:{path}"\ntls = false\n')
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(path.exists, "the new listener")
    wait_until(lambda: service.output().count("in service") == 1, "the new workers")
    assert curl(folder, "--unix-socket", str(path), "http://localhost/").startswith("app")
    assert curl(folder, first).startswith("app")
    file.write_text(old)
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: not path.exists(), "the listener to be gone")
    assert curl(folder, first).startswith("app")
    assert service.output().count("listening on https://") == 1


def test_a_port_that_is_in_use_changes_nothing(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=text(backend))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = folder / "lockgate.toml"
        file.write_text(file.read_text() + f'[[listen]]\naddress = "127.0.0.1:{taken.getsockname()[1]}"\n')
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "nothing is changed" in service.output(), "the complaint")
    assert "is in use" in service.output()
    assert curl(folder, url(service)).startswith("app")


SWAPS = 8
"""As many have to be noticed while there is load."""


@pytest.mark.parametrize("client", ["wrk", "h2load"])
def test_swaps_under_load(folder: Path, backend: Backend, start: Start, client: str) -> None:
    """A certificate every 100 ms, and a load of new connections and of requests on old ones: not one error."""
    service = start(text=text(backend))
    pems = [authority().issue("localhost", f"swap{number}.test") for number in range(4)]
    ended = threading.Event()

    def swap() -> None:
        for number in itertools.count():
            replace(folder, pems[number % len(pems)])
            os.kill(service.process.pid, signal.SIGHUP)
            if ended.wait(0.1):
                return

    target = url(service) + "/"
    if client == "wrk":
        keeping = ["wrk", "-t1", "-c8", "-d4s", "--timeout", "60s", target]
        opening = ["wrk", "-t1", "-c8", "-d4s", "--timeout", "60s", "-H", "Connection: close", target]
    else:
        keeping = ["h2load", "-t1", "-c4", "-m4", "-D4", target]
        opening = ["h2load", "-t1", "-c8", "-r8", "-n32", "-m1", target]
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        while service.output().count("is renewed") < SWAPS:  # once is enough, where it is not let run for seconds
            loads = [
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                for command in (keeping, opening)
            ]
            outputs = [load.communicate(timeout=2 * PATIENCE)[0] for load in loads]
            for load, output in zip(loads, outputs, strict=True):
                assert load.returncode == 0, output
                assert "Socket errors" not in output, output
                assert "Non-2xx" not in output, output
                if client == "h2load":
                    assert re.search(r"requests: .* 0 failed, 0 errored, 0 timeout", output), output
    finally:
        ended.set()
        thread.join()
    assert "nothing is changed" not in service.output()
