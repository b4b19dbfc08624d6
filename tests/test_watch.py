"""Files that a configuration names change under `lockgate serve`: who may come in, who is trusted, follows without a signal."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import time
from itertools import pairwise
from pathlib import Path

import pytest
from support_config import write_pem
from support_e2e import Service, wait_until
from support_mtls import client_pem as make_client
from support_mtls import clients, pem_of, revocation_list, strangers, with_certificate
from support_serve import Backend, Start, backend, curl, folder, running, site, start, url
from support_tls import Authority, Pem, ssl_server_context

from lockgate.server.watch import AGAIN, INTERVAL, MOST_RARELY, PATIENCE, REST, RESTLESS, Stamps, Watch

__all__ = ["backend", "folder", "start"]

HOST = """
    workers = 2
    [[listen]]
    address = "127.0.0.1:0"
    [[certificate]]
    cert = "site.pem"
    key = "site.key"
    [[host]]
    names = ["localhost"]
    client_auth = {{ mode = "required", ca = "clients.pem", crl = "clients.crl" }}
    [[route]]
    backend = "app"
    [backend.app]
    servers = ["{server}"]
"""
SERIAL = 4711


def put(path: Path, content: bytes) -> None:
    """In one step, as a careful program does it."""
    new = path.with_name("new")
    new.write_bytes(content)
    os.replace(new, path)


def revoke(folder: Path, *serials: int) -> None:
    put(folder / "clients.crl", revocation_list(*serials) + revocation_list(of_root=True))


def serve_clients(folder: Path, backend: Backend, start: Start) -> Service:
    (folder / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))
    revoke(folder)
    return start(text=HOST.format(server=backend.address))


def taken_over(service: Service, what: str = "in service: ") -> None:
    """Wait until new workers have taken over and the old ones, which may still accept for a moment, have ended."""
    wait_until(lambda: what in service.output(), "new workers")
    wait_until(lambda: len(service.processes()) == 3, "the old workers to end")


def enter(
    service: Service, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[str, ssl.SSLSession | None, bool]:
    """(status line of an answer, empty if the client was refused; the session; whether one was resumed)"""
    port = int(url(service).rpartition(":")[2])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
            context.wrap_socket(sock, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := secure.recv(4096):
                answer += piece
            return answer.partition(b"\r\n")[0].decode(), secure.session, secure.session_reused or False
    except (ssl.SSLError, ConnectionError):
        return "", None, False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_is_revoked_is_refused_without_a_signal_also_with_its_session(
    folder: Path, backend: Backend, start: Start, version: ssl.TLSVersion
) -> None:
    service = serve_clients(folder, backend, start)
    revoked = with_certificate(make_client(serial=SERIAL), minimum_version=version, maximum_version=version)
    other = with_certificate(make_client())
    status, session, _ = enter(service, revoked)
    assert status == "HTTP/1.1 200 OK"
    assert session is not None
    revoke(folder, SERIAL)
    taken_over(service, f"in service: {folder / 'clients.crl'}")
    for _ in range(5):
        assert enter(service, revoked) == ("", None, False)
        assert enter(service, revoked, session) == ("", None, False)
    assert enter(service, other)[0] == "HTTP/1.1 200 OK"
    assert "Traceback" not in service.output()


def test_an_authority_that_is_taken_away(folder: Path, backend: Backend, start: Start) -> None:
    (folder / "clients.pem").write_bytes(clients().pem + strangers().pem)
    service = start(text=HOST.format(server=backend.address).replace(', crl = "clients.crl"', ""))
    stranger = with_certificate(make_client(authority=strangers()))
    assert enter(service, stranger)[0] == "HTTP/1.1 200 OK"
    put(folder / "clients.pem", clients().pem)
    taken_over(service)
    assert enter(service, stranger)[0] == ""
    assert enter(service, with_certificate(make_client()))[0] == "HTTP/1.1 200 OK"


def test_a_broken_certificate_does_not_keep_a_revocation_list_out(folder: Path, backend: Backend, start: Start) -> None:
    service = serve_clients(folder, backend, start)
    client = with_certificate(make_client(serial=SERIAL))
    assert enter(service, client)[0] == "HTTP/1.1 200 OK"
    put(folder / "site.pem", b"broken")
    wait_until(lambda: "site.pem" in service.output(), "the complaint about the certificate")
    revoke(folder, SERIAL)
    taken_over(service)
    assert enter(service, client)[0] == ""
    assert enter(service, with_certificate(make_client()))[0] == "HTTP/1.1 200 OK", "with the certificate of before"


def test_broken_authorities_of_a_backend_do_not_keep_a_revocation_list_out(
    folder: Path, backend: Backend, start: Start
) -> None:
    (folder / "servers.pem").write_bytes(strangers().pem)
    (folder / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))
    revoke(folder)
    other = '[backend.other]\n    servers = ["127.0.0.1:9"]\n    tls = { ca = "servers.pem" }\n'
    route = '[[route]]\n    host = "localhost"\n    path = "/other"\n    backend = "other"\n'
    service = start(text=HOST.format(server=backend.address) + f"    {other}    {route}")
    client = with_certificate(make_client(serial=SERIAL))
    assert enter(service, client)[0] == "HTTP/1.1 200 OK"
    put(folder / "servers.pem", b"broken")
    wait_until(lambda: f"stays in service: {folder / 'servers.pem'}\n" in service.output(), "the complaint")
    revoke(folder, SERIAL)
    taken_over(service, f"in service: {folder / 'clients.crl'}\n")
    assert enter(service, client)[0] == ""
    assert enter(service, with_certificate(make_client()))[0] == "HTTP/1.1 200 OK"
    assert service.output().count("servers.pem: ") == 1, "it is told once"
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: service.output().count("servers.pem: ") > 1, "the complaint after a signal")
    assert enter(service, client)[0] == ""


@pytest.mark.parametrize(("file", "gone"), [("clients.crl", True), ("clients.pem", False)])
def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_once(
    folder: Path, backend: Backend, start: Start, file: str, gone: bool
) -> None:
    service = serve_clients(folder, backend, start)
    client = with_certificate(make_client(serial=SERIAL))
    before = (folder / file).read_bytes()
    if gone:
        (folder / file).unlink()
    else:
        put(folder / file, b"-----BEGIN X509 CRL-----\nbroken\n-----END X509 CRL-----\n")
    stays = f"what these files said before stays in service: {folder / file}"
    wait_until(lambda: stays in service.output(), "the complaint")
    told = re.findall(rf"^\S*lockgate.toml:\d+: .*{file}\b.*$", service.output(), re.MULTILINE)
    assert len(told) == 1, "the file, what is wrong with it, and what to do"
    assert ";" in told[0]
    assert enter(service, client)[0] == "HTTP/1.1 200 OK"
    assert enter(service, with_certificate(None))[0] == ""
    put(folder / file, before)
    revoke(folder, SERIAL)
    wait_until(lambda: enter(service, client)[0] == "", "the client to be refused")


@pytest.mark.parametrize("theirs", [True, False])
def test_authorities_and_certificates_for_backends(folder: Path, start: Start, theirs: bool) -> None:
    """A backend's authority is exchanged, or our certificate for it: by new files alone."""
    first, second = Authority("first"), Authority("second")
    write_pem(folder, "ours", make_client(authority=clients() if theirs else strangers()))
    (folder / "servers.pem").write_bytes((first if theirs else second).pem)

    def asking(pem: Pem) -> ssl.SSLContext:
        context = ssl_server_context(pem)
        context.load_verify_locations(cadata=clients().pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    context = asking(second.issue("127.0.0.1"))
    with running(Backend("secure", context)) as behind:
        service = start(
            text=f"""
            workers = 1
            {site(behind.address)}
            tls = {{ ca = "servers.pem", cert = "ours.pem", key = "ours.key" }}
            """
        )
        status = ("-o", "/dev/null", "-w", "%{http_code}", url(service))
        assert curl(folder, *status) == "502", "its authority is not trusted" if theirs else "ours is not trusted there"
        if theirs:
            put(folder / "servers.pem", second.pem)
        else:
            write_pem(folder, "ours", make_client())
        wait_until(lambda: curl(folder, *status) == "200", "both to be right")


def test_changes_in_a_row_bring_one_generation_but_a_signal_is_heard_at_once(
    folder: Path, backend: Backend, start: Start
) -> None:
    service = serve_clients(folder, backend, start)
    first, second = (with_certificate(make_client(serial=SERIAL + number)) for number in (0, 1))
    revoke(folder, SERIAL)
    taken_over(service)
    assert [enter(service, one)[0] for one in (first, second)] == ["", "HTTP/1.1 200 OK"]
    begin = time.monotonic()
    revoke(folder, SERIAL, SERIAL + 1)
    time.sleep(4 * INTERVAL)  # long enough for new workers, if there were any
    assert enter(service, second)[0] == "HTTP/1.1 200 OK" or time.monotonic() - begin > REST / 2
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: enter(service, second)[0] == "", "the second one to be refused")
    wait_until(lambda: len(service.processes()) == 3, "the old workers to end")
    assert enter(service, second)[0] == ""
    if time.monotonic() - begin < REST / 2:
        assert "the new configuration is in service" in service.output(), "for the signal, and not by itself"


def test_a_half_written_configuration_does_not_come_along(folder: Path, backend: Backend, start: Start) -> None:
    service = serve_clients(folder, backend, start)
    (folder / "lockgate.toml").write_text("[[listen")
    revoke(folder, SERIAL)
    taken_over(service)
    assert enter(service, with_certificate(make_client(serial=SERIAL)))[0] == ""
    assert "TOML" not in service.output()


# -- when ------------------------------------------------------------------------------------------------------------

FILE, OTHER = Path("a"), Path("b")


class Files:
    """Stamps of files, and a watch on them."""

    def __init__(self) -> None:
        self.there: Stamps = {FILE: (1, 1, 1), OTHER: (1, 1, 1)}
        self.in_service = dict(self.there)
        self.watch = Watch(lambda: dict(self.there))

    def due(self, now: float) -> bool:
        return self.watch.is_due(self.in_service, now)

    def failed(self, texts: list[str], now: float) -> list[str]:
        return self.watch.failed(texts, self.watch.changed(self.in_service), now)


def test_nothing_is_tried_that_has_not_changed() -> None:
    files = Files()
    assert not any(files.due(now) for now in range(5))


def test_a_file_is_left_alone_while_it_is_written() -> None:
    files = Files()
    for now in range(1, 5):
        files.there[FILE] = (now, now, 1)
        assert not files.due(now)
    assert files.due(5.0)
    assert files.watch.changed(files.in_service) == [FILE]


def test_what_is_put_back_is_no_change() -> None:
    files = Files()
    files.there[FILE] = (2, 2, 2)
    assert not files.due(1.0)
    files.there[FILE] = (1, 1, 1)
    assert not files.due(2.0)
    assert not files.due(3.0)


def test_a_fault_is_said_late_and_once_and_another_one_again() -> None:
    files = Files()
    files.there[FILE] = (2, 2, 2)
    assert not files.due(1.0)
    assert files.due(2.0)
    assert files.failed(["bad"], 2.0) == []
    assert files.due(3.0), "another file may be on its way"
    assert files.failed(["bad"], 1.0 + PATIENCE) == ["bad"]
    assert not files.due(5.0)
    assert files.due(4.0 + AGAIN), "what is in the way may be mended elsewhere"
    assert files.failed(["bad"], 4.0 + AGAIN) == []
    files.there[FILE] = (3, 3, 3)
    assert not files.due(20.0)
    assert files.due(21.0), "another state of the file is tried at once"
    assert files.failed(["worse"], 21.0) == ["worse"]


def tries(files: Files, begin: float, seconds: int) -> list[float]:
    """When the files are tried, all in vain, with a look each second."""
    at = []
    for now in range(int(begin), int(begin) + seconds):
        if files.due(now):
            at.append(float(now))
            files.failed(["bad"], now)
    return at


def test_what_stays_broken_is_tried_more_and_more_rarely_and_at_once_when_it_changes() -> None:
    files = Files()
    files.there[FILE] = (2, 2, 2)
    at = tries(files, 1, 3600)
    pauses = [after - before for before, after in pairwise(at)]
    first = pauses.index(AGAIN)
    assert set(pauses[:first]) <= {1.0}
    assert pauses[first : first + 5] == [AGAIN, 2 * AGAIN, 4 * AGAIN, 8 * AGAIN, 16 * AGAIN]
    assert set(pauses[first + 5 :]) == {MOST_RARELY}
    for other in (FILE, OTHER):
        files.there[other] = (4, 4, 4)
        again = tries(files, at[-1] + 1, 60)
        assert again[0] == at[-1] + 2
        assert again[-1] > again[0] + 20, "the pauses begin anew"
        at += again


def test_a_generation_is_followed_by_a_rest_and_nothing_of_it_is_lost() -> None:
    files = Files()
    files.there[FILE] = (2, 2, 2)
    files.due(1.0)
    assert files.due(2.0)
    files.watch.taken(2.0)
    files.in_service = dict(files.there)
    files.there[FILE] = (3, 3, 3)
    due = [now for now in range(3, 200) if files.due(float(now))]
    assert due[0] == 2 + REST, "the first look after that: it has waited for long enough"
    assert files.watch.changed(files.in_service) == [FILE]


def test_a_file_that_is_written_all_the_time_brings_one_generation_in_a_while() -> None:
    files = Files()
    begun = []
    for now in range(1, 1000):
        if now % 3 == 0:
            files.there[FILE] = (now, now, now)
        if files.due(float(now)):
            files.watch.taken(float(now))
            files.in_service = dict(files.there)
            begun.append(now)
    assert len(begun) >= 1000 / (REST + 3) - 1
    assert min(after - before for before, after in pairwise(begun)) >= REST


def test_a_file_that_never_rests_does_not_keep_another_one_out() -> None:
    files = Files()
    files.there[OTHER] = (2, 2, 2)
    due = []
    for now in range(1, 60):
        files.there[FILE] = (now, now, now)
        if files.due(float(now)):
            due.append(now)
            files.failed(["half of it"], float(now))
    assert due[0] == 1 + RESTLESS
    assert len(due) >= 4
    assert min(after - before for before, after in pairwise(due)) >= RESTLESS, "but that is no reason to be busy"


def test_another_file_that_has_to_wait_for_a_broken_one_is_told_and_has_time_of_its_own() -> None:
    files = Files()
    files.there[FILE] = (2, 2, 2)
    tries(files, 1, 100)
    files.there[OTHER] = (2, 2, 2)
    assert not files.due(200.0)
    assert files.due(201.0)
    assert files.failed(["bad", "half of it"], 201.0) == [], "its other half may be on its way"
    assert files.due(202.0)
    assert files.failed(["bad"], 200.0 + PATIENCE) == ["bad"], "what it says now is not in service either"
    files.due(230.0)
    assert files.failed(["bad"], 230.0) == []
