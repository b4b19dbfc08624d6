"""What is counted by the workers, and how it is shown on the admin address."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support_config import GOOD, load, write_pem
from support_e2e import Service, run, wait_until
from support_serve import Backend, Start, backend, curl, flags, folder, site, start, url
from support_tls import authority, server_pem

from lockgate.core.proxy.record import END_REASONS, AccessRecord
from lockgate.server.admin import SIGNALS, AdminServer, Shown, is_allowed, page, run_admin
from lockgate.server.config import read_file
from lockgate.server.counters import BUCKETS, GENERATIONS, WORKERS, Counters, Totals
from lockgate.server.metrics import metrics_text
from lockgate.server.worker import CUT_OFF

__all__ = ["backend", "folder", "start"]


def record(status: int = 200, **values: object) -> AccessRecord:
    return AccessRecord(method=b"GET", status=status, **values)


# -- counting ----------------------------------------------------------------------------------------------------------


def test_rows_of_workers_and_generations_are_added_up() -> None:
    counters = Counters()
    for number, generation in ((0, 0), (1, 0), (0, 1), (WORKERS - 1, GENERATIONS - 1)):
        counters.worker(number, generation).log(record(200, bytes_in=1, bytes_out=10, total_time=0.002))
        counters.worker(number, generation).set_connections(3)
    totals = counters.totals()
    assert totals.by_status["2xx"] == 4
    assert totals.by_end["complete"] == 4
    assert (totals.bytes_in, totals.bytes_out, totals.connections) == (4, 40, 12)
    assert totals.duration == pytest.approx(0.008)


def test_a_worker_goes_on_where_the_one_before_it_stopped() -> None:
    counters = Counters()
    counters.worker(1, 0).log(record())
    counters.worker(1, 0).log(record())
    assert counters.totals().by_status["2xx"] == 2


def test_what_one_process_counts_another_one_sees() -> None:
    counters = Counters()
    child = os.fork()
    if child == 0:
        counters.worker(5, 0).log(record(503))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counters.totals().by_status["5xx"] == 1


@pytest.mark.parametrize(
    ("status", "place"), [(0, "none"), (101, "1xx"), (308, "3xx"), (421, "4xx"), (599, "5xx"), (999, "none")]
)
def test_statuses_are_counted_by_class(status: int, place: str) -> None:
    counters = Counters()
    counters.worker(0, 0).log(record(status))
    totals = counters.totals()
    assert totals.by_status[place] == 1
    assert sum(totals.by_status.values()) == 1


@pytest.mark.parametrize("end", END_REASONS)
def test_a_connection_without_a_request_is_an_end_but_no_request(end: str) -> None:
    counters = Counters()
    counters.worker(0, 0).log(AccessRecord(end=end))
    totals = counters.totals()
    assert totals.by_end[end] == 1
    assert not any(totals.by_status.values())


@pytest.mark.parametrize(
    ("seconds", "place"), [(0.0, 0), (0.001, 0), (0.0011, 1), (30.0, len(BUCKETS) - 1), (31.0, len(BUCKETS))]
)
def test_durations_are_counted_in_buckets(seconds: float, place: int) -> None:
    counters = Counters()
    counters.worker(0, 0).log(record(total_time=seconds))
    assert counters.totals().buckets[place] == 1
    assert sum(counters.totals().buckets) == 1


# -- showing -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    write_pem(tmp_path, "site", server_pem())
    (tmp_path / "lockgate.toml").write_text('[[certificate]]\ncert = "site.pem"\nkey = "site.key"\n')
    counters = Counters()
    counters.worker(0, 0).log(record(200, total_time=0.02, bytes_out=7))
    counters.worker(0, 0).log(record(404, total_time=40.0, end="no_route"))
    return Shown(read_file(tmp_path / "lockgate.toml").config, counters, 1700000000.0)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_metrics_are_what_prometheus_reads(shown: Shown) -> None:
    found = samples(metrics_text(shown.collector))
    assert found["lockgate_requests_total", (("status", "2xx"),)] == 1
    assert found["lockgate_requests_total", (("status", "4xx"),)] == 1
    assert found["lockgate_ends_total", (("end", "no_route"),)] == 1
    assert found["lockgate_sent_bytes_total", ()] == 7
    assert found["lockgate_start_time_seconds", ()] == 1700000000.0
    assert found["lockgate_request_duration_seconds_bucket", (("le", "0.01"),)] == 0
    assert found["lockgate_request_duration_seconds_bucket", (("le", "0.025"),)] == 1
    assert found["lockgate_request_duration_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["lockgate_request_duration_seconds_count", ()] == 2
    ((_, labels),) = [key for key in found if key[0] == "lockgate_certificate_not_after_seconds"]
    assert dict(labels)["name"] == "localhost"
    assert dict(labels)["file"].endswith("site.pem")


@pytest.mark.parametrize(
    ("what", "in_folder"),
    [("gone", False), ("wrong key", False), ("damaged", False), ("wrong key", True), ("damaged", True)],
)
def test_a_file_that_cannot_be_used_does_not_change_what_is_shown(tmp_path: Path, what: str, in_folder: bool) -> None:
    """The certificate before it is in service, and it is that one whose end has to be watched."""
    (tmp_path / "certs").mkdir()
    write_pem(tmp_path / "certs", "site", authority().issue("localhost"))
    one = 'cert = "certs/site.pem"\nkey = "certs/site.key"\n'
    text = GOOD.replace('cert = "site.pem"\nkey = "site.key"\n', 'directory = "certs"\n' if in_folder else one)
    prepared = load(tmp_path, text)
    shown = Shown(prepared.config, Counters(), 1.0, loaded=prepared.loaded, folders=prepared.folders)
    path = tmp_path / "certs" / "site.pem"
    other = authority().issue("localhost", last_day=700)
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(other.chain if what == "wrong key" else b"-----BEGIN CERTIFICATE-----")
    (row,) = shown.certificates()
    assert row.entry.not_after < datetime.now(UTC) + timedelta(days=400)
    write_pem(tmp_path / "certs", "site", other)
    shown._read = shown._renewals.folders_due = 0.0
    (row,) = shown.certificates()
    assert row.entry.not_after > datetime.now(UTC) + timedelta(days=600)


def test_the_expiry_is_that_of_the_file(shown: Shown) -> None:
    (row,) = shown.certificates()
    found = samples(metrics_text(shown.collector))
    (value,) = [value for key, value in found.items() if key[0] == "lockgate_certificate_not_after_seconds"]
    assert value == row.entry.not_after.timestamp()


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1:9901", None, True),
        ("localhost:9901", None, True),
        ("[::1]:9901", None, True),
        ("10.0.0.5", None, True),
        ("127.0.0.1:9901", "http://127.0.0.1:9901", True),
        ("127.0.0.1:9901", "http://evil.test", False),
        ("127.0.0.1:9901", "null", False),
        ("127.0.0.1:9901", "http://[", False),
        ("evil.test:9901", None, False),
        ("evil.test", "http://evil.test", False),
        ("", None, False),
        ("a b", None, False),
        ("\u00e4.test", None, False),
    ],
)
def test_pages_of_others_are_refused(host: str, origin: str | None, allowed: bool) -> None:
    assert is_allowed(host, origin, local=False) is allowed
    assert is_allowed(host, origin, local=True)


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),  # an image, a script, or what a script fetches: browsers send no Origin with it
        ("same-site", "no-cors", 403),
        ("cross-site", "cors", 403),
        ("cross-site", "", 403),
        ("same-origin", "no-cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),  # a link that somebody has followed
    ],
)
def test_what_the_page_of_another_fetches_is_refused(shown: Shown, site: str, mode: str, status: int) -> None:
    with serving(shown) as base:
        fields = [
            part for name, value in (("Site", site), ("Mode", mode)) for part in ("-H", f"Sec-Fetch-{name}: {value}")
        ]
        assert run("curl", "-sSi", *fields, f"{base}/healthz").stdout.startswith(f"HTTP/1.0 {status}")


def test_the_page_escapes_what_comes_from_elsewhere(shown: Shown) -> None:
    from datetime import UTC, datetime

    (row,) = shown.certificates()
    object.__setattr__(row.entry, "names", ("<script>alert(1)</script>",))
    text = page(shown, datetime.now(UTC))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@contextmanager
def serving(shown: Shown) -> Iterator[str]:
    server = AdminServer(socket.create_server(("127.0.0.1", 0)), shown)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_there_is_to_see(shown: Shown) -> None:
    with serving(shown) as base:
        assert run("curl", "-sS", f"{base}/healthz").stdout == "ok\n"
        answer = run("curl", "-sSi", f"{base}/").stdout
        assert "content-security-policy: default-src 'none'" in answer.lower()
        assert "localhost" in answer
        (certificate,) = json.loads(run("curl", "-sS", f"{base}/certificates.json").stdout)
        assert "localhost" in certificate["names"]
        assert "lockgate_requests_total" in run("curl", "-sS", f"{base}/metrics").stdout
        assert run("curl", "-sSI", f"{base}/metrics").stdout.startswith("HTTP/1.0 200")
        assert run("curl", "-sSi", f"{base}/x").stdout.startswith("HTTP/1.0 404")
        assert run("curl", "-sSi", "-X", "POST", f"{base}/").stdout.startswith("HTTP/1.0 501")
        assert run("curl", "-sSi", "-H", "Host: evil.test", f"{base}/").stdout.startswith("HTTP/1.0 403")
        for odd, status in (("http://[", 400), ("http://localhost/healthz", 200), ("/healthz?a#b", 200)):
            answer = run("curl", "-sSi", "--request-target", odd, f"{base}/").stdout
            assert answer.startswith(f"HTTP/1.0 {status}"), odd
        assert run("curl", "-sSi", "-H", "Origin: http://[", f"{base}/").stdout.startswith("HTTP/1.0 403")


@pytest.mark.parametrize("line", [b"GET / HTTP/9.9", b"GET / HTTP/x", b"GET", b"\x16\x03\x01 / x"])
def test_a_request_line_that_cannot_be_read_is_answered_with_a_status(shown: Shown, line: bytes) -> None:
    with serving(shown) as base, socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2])), 5) as client:
        client.sendall(line + b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.0 (400|505) ", received(client))


def test_a_client_that_another_process_took_is_not_waited_for(shown: Shown) -> None:
    """Two generations wait at the same socket: who wakes up in vain must hear that it is to end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = AdminServer(listening, shown)
        with pytest.raises(BlockingIOError):
            server.get_request()
        with socket.create_connection(listening.getsockname()):
            client, _ = server.get_request()
            assert client.gettimeout() is None
            client.close()


class Held(Shown):
    """Says through a pipe that it was asked, and waits at another one before it answers. For a process of its own."""

    def __init__(self, shown: Shown, asked: int, go_on: int) -> None:
        self.__dict__.update(shown.__dict__)
        self._asked = asked
        self._go_on = go_on

    def totals(self) -> Totals:
        os.write(self._asked, b"!")
        os.read(self._go_on, 1)
        return super().totals()


@contextmanager
def process(listening: socket.socket, shown: Shown) -> Iterator[int]:
    """Serves as the proxy has it done, in a process of its own."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        run_admin(listening, shown, lambda: os.close(tell))
        os._exit(0)
    os.close(tell)
    try:
        assert os.read(ready, 1) == b""
        yield child
    finally:
        os.close(ready)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@contextmanager
def held_process(listening: socket.socket, shown: Shown) -> Iterator[tuple[int, int, int]]:
    """One that waits with its answers: its pid, the pipe where it says that it is asked, and the one that lets it go on."""
    asked, ask = os.pipe()
    go_on, let = os.pipe()
    try:
        with process(listening, Held(shown, ask, go_on)) as child:
            yield child, asked, let
    finally:
        for fd in (asked, ask, go_on, let):
            os.close(fd)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def received(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_who_has_asked_gets_an_answer_although_another_process_has_taken_over(shown: Shown) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        held_process(listening, shown) as (child, asked, let),
        socket.create_connection(listening.getsockname()) as begun,
        # The last: when it is heard, both have been accepted.
        socket.create_connection(listening.getsockname()) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begun.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert os.read(asked, 1) == b"!"
        os.kill(child, signal.SIGTERM)
        begun.sendall(b"Host: localhost\r\n\r\n")
        assert received(begun).endswith(b"ok\n")
        os.write(let, b"!")
        assert received(client).endswith(b"</html>\n")
        assert exit_code(child) == 0


def test_who_says_nothing_is_not_waited_for_long(shown: Shown) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        process(listening, shown) as child,
        socket.create_connection(listening.getsockname()) as client,
        socket.create_connection(listening.getsockname()) as next_one,
    ):
        next_one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert received(next_one).endswith(b"ok\n")  # so the other one has been accepted
        os.kill(child, signal.SIGTERM)
        assert received(client) == b""
        assert exit_code(child) == 0


def test_to_end_at_once_is_to_leave_clients_without_an_answer(shown: Shown) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        held_process(listening, shown) as (child, asked, _),
        socket.create_connection(listening.getsockname()) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert os.read(asked, 1) == b"!"
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGQUIT)
        assert exit_code(child) == CUT_OFF
        assert received(client) == b""


# -- as it is served ---------------------------------------------------------------------------------------------------


def text(backend: Backend, admin: str = "127.0.0.1:0") -> str:
    return f'admin = "{admin}"\nworkers = 2\n{site(backend.address)}'


def admin_of(service: Service) -> str:
    """Where the metrics are, once that is said: it comes after the line that says that the service listens."""
    said = re.compile(r"^metrics on (http://\S+)$", re.MULTILINE)
    wait_until(lambda: said.search(service.output()) is not None, "the line that says where the metrics are")
    found = said.search(service.output())
    assert found is not None
    return found[1]


def counted(service: Service, status: str = "2xx") -> float:
    found = samples(run("curl", "-sS", f"{admin_of(service)}metrics").stdout.encode())
    return found["lockgate_requests_total", (("status", status),)]


def test_requests_to_all_workers_are_counted_also_over_a_reload(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=text(backend))
    for _ in range(6):
        assert curl(folder, url(service)).startswith("app")
    wait_until(lambda: counted(service) == 6, "the requests to be counted, a moment after they were answered")
    file = folder / "lockgate.toml"
    file.write_text(file.read_text() + "[limits]\nidle_timeout = 5\n")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
    for _ in range(6):
        assert curl(folder, url(service)).startswith("app")
    wait_until(lambda: counted(service) == 12, "the old admin process to end, or the new one to know as much")
    assert service.terminate() == 0


def test_connections_of_workers_that_are_gone_are_not_counted(folder: Path, backend: Backend, start: Start) -> None:
    def connections() -> float:
        found = samples(run("curl", "-sS", f"{admin_of(service)}metrics").stdout.encode())
        return found["lockgate_connections", ()]

    limits = "[limits]\ndrain_timeout = 0.5\n"
    service = start(text=text(backend) + limits)
    with socket.create_connection(("127.0.0.1", int(url(service).rpartition(":")[2]))):
        wait_until(lambda: connections() == 1, "the connection to be counted")
        file = folder / "lockgate.toml"
        file.write_text(file.read_text().replace("0.5", "0.6"))
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
        wait_until(lambda: connections() == 0, "the old worker's connection to be forgotten")


def test_connections_of_a_worker_that_was_killed_while_it_drained_are_not_counted(
    folder: Path, backend: Backend, start: Start
) -> None:
    def connections() -> float:
        found = samples(run("curl", "-sS", f"{admin_of(service)}metrics").stdout.encode())
        return found["lockgate_connections", ()]

    def children() -> set[int]:
        return set(map(int, run("pgrep", "-P", str(service.process.pid)).stdout.split()))

    service = start(text=text(backend))
    with socket.create_connection(("127.0.0.1", int(url(service).rpartition(":")[2]))):
        wait_until(lambda: connections() == 1, "the connection to be counted")
        old = children()
        file = folder / "lockgate.toml"
        file.write_text(file.read_text() + "[limits]\nidle_timeout = 5\n")
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
        for pid in old & children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: connections() == 0, "the old worker's connection to be forgotten")


def test_a_unix_socket_is_for_its_owner(folder: Path, backend: Backend, start: Start) -> None:
    path = folder / "admin.sock"
    service = start(text=text(backend, f"unix:{path}"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run("curl", "-sS", "--unix-socket", path, "http://lockgate/healthz").stdout == "ok\n"
    assert service.terminate() == 0
    assert not path.exists()


def test_the_flag(folder: Path, backend: Backend, start: Start) -> None:
    service = start(*flags(folder, backend, "--admin", "127.0.0.1:0", "--access-log", "-"))
    assert curl(folder, url(service)).startswith("app")
    wait_until(lambda: counted(service) == 1, "the request to be counted")
    wait_until(lambda: '"status":200' in service.output(), "the line of the access log")
