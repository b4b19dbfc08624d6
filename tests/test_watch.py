"""Files that a configuration names change under `lockgate serve`: who may come in, who is trusted, follows without a signal."""

from __future__ import annotations

import os
import re
import socket
import ssl
from pathlib import Path

import pytest
from support_config import write_pem
from support_e2e import Service, wait_until
from support_mtls import client_pem as make_client
from support_mtls import clients, pem_of, revocation_list, strangers, with_certificate
from support_serve import Backend, Start, backend, curl, folder, running, start, url
from support_tls import Authority, Pem, ssl_server_context

from lockgate.server.watch import AGAIN, PATIENCE, Stamps, Watch

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
    wait_until(lambda: "what the files said before stays in service" in service.output(), "the complaint")
    told = re.findall(rf"^\S*lockgate.toml:\d+: .*{file}\b.*$", service.output(), re.MULTILINE)
    assert len(told) == 1, "the file, what is wrong with it, and what to do"
    assert ";" in told[0]
    assert enter(service, client)[0] == "HTTP/1.1 200 OK"
    assert enter(service, with_certificate(None))[0] == ""
    put(folder / file, before)
    revoke(folder, SERIAL)
    wait_until(lambda: enter(service, client)[0] == "", "the client to be refused")


def test_authorities_and_certificates_for_backends(folder: Path, start: Start) -> None:
    """A backend's authority is exchanged, and so is our certificate: both by new files alone."""
    first, second = Authority("first"), Authority("second")
    write_pem(folder, "ours", make_client(authority=strangers()))
    (folder / "servers.pem").write_bytes(first.pem)

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
            [[listen]]
            address = "127.0.0.1:0"
            [[certificate]]
            cert = "site.pem"
            key = "site.key"
            [[route]]
            backend = "app"
            [backend.app]
            servers = ["{behind.address}"]
            tls = {{ ca = "servers.pem", cert = "ours.pem", key = "ours.key" }}
            """
        )
        status = ("-o", "/dev/null", "-w", "%{http_code}", url(service))
        assert curl(folder, *status) == "502", "its authority is not trusted"
        put(folder / "servers.pem", second.pem)
        wait_until(lambda: service.output().count("in service: ") == 1, "the new authority")
        assert curl(folder, *status) == "502", "ours is not trusted there"
        write_pem(folder, "ours", make_client())
        wait_until(lambda: curl(folder, *status) == "200", "both to be right")
        put(folder / "servers.pem", first.pem)
        wait_until(lambda: curl(folder, *status) == "502", "the authority to be taken away")


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
    assert files.watch.failed(["bad"], 2.0) == []
    assert files.due(3.0), "another file may be on its way"
    assert files.watch.failed(["bad"], 1.0 + PATIENCE) == ["bad"]
    assert not files.due(5.0)
    assert files.due(4.0 + AGAIN), "what is in the way may be mended elsewhere"
    assert files.watch.failed(["bad"], 4.0 + AGAIN) == []
    files.there[FILE] = (3, 3, 3)
    assert not files.due(20.0)
    assert files.due(21.0), "another state of the file is tried at once"
    assert files.watch.failed(["worse"], 21.0) == ["worse"]
