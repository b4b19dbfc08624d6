"""Handshakes and backends in the metrics: counted once, by labels that nobody outside can add to."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from pathlib import Path

import pytest
from support_e2e import Service, run, wait_until
from support_ports import free_port
from support_proxy import GET, OK, World, head
from support_proxy_h2 import Server
from support_serve import Backend, Start, backend, curl, folder, start, url
from support_tls import ssl_client_context
from test_admin import admin_of, record, samples
from test_proxy_tls import SECURE, ask, client, identity, policy

from lockgate.core.proxy.meter import HANDSHAKE_ENDS, Meter
from lockgate.core.proxy.policy import Backend as BackendGroup
from lockgate.core.tls.failure import Alert
from lockgate.core.tls.info import TLSInfo
from lockgate.server.counters import BUCKETS, GENERATIONS, REASONS, Counters
from lockgate.server.metrics import ProxyCollector, metrics_text

__all__ = ["backend", "folder", "start"]

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def info(version: str = "TLSv1.3", resumed: bool = False) -> TLSInfo:
    return TLSInfo(version=version, cipher="", group="", sni="", alpn=b"", resumed=resumed)


def text_of(counters: Counters) -> Found:
    return samples(metrics_text(ProxyCollector(counters.totals, counters.backends, list, (), 0.0)))


def handshakes(found: Found, outcome: str, version: str = "") -> float:
    return found["lockgate_tls_handshakes_total", (("outcome", outcome), ("version", version))]


# -- counting --------------------------------------------------------------------------------------------------------


def test_handshakes_by_outcome_and_version() -> None:
    counters = Counters()
    for worker in (0, 1):
        row = counters.worker(worker, 0)
        row.handshake_done(info())
        row.handshake_done(info("TLSv1.2", resumed=True))
        row.handshake_failed("no_shared_cipher")
    found = text_of(counters)
    assert handshakes(found, "full", "TLSv1.3") == 2
    assert handshakes(found, "resumed", "TLSv1.2") == 2
    assert handshakes(found, "full", "TLSv1.2") == handshakes(found, "resumed", "TLSv1.3") == 0
    assert handshakes(found, "failed") == 2
    assert found["lockgate_tls_handshake_failures_total", (("reason", "no_shared_cipher"),)] == 2


def test_reasons_are_bounded() -> None:
    counters = Counters()
    row = counters.worker(0, 0)
    for reason in ("alert_250", "made up by a peer", ""):
        row.handshake_failed(reason)
    assert counters.totals().failures["other"] == 3
    assert len(REASONS) == len(set(REASONS)) < 100
    assert {alert.name.lower() for alert in Alert} | set(HANDSHAKE_ENDS) <= set(REASONS)


def test_backends_are_added_up_by_name() -> None:
    counters = Counters()
    rows = counters.begin(["app", "other"], 2)
    for worker in (0, 1):
        row = counters.worker(worker, 0, rows)
        row.log(record(200, backend="app", first_byte_time=0.002))
        row.log(record(502, backend="app"))
        row.log(record(404, backend=""))
        row.connect_failed("app")
        row.connect_failed("nobody's")
        row.set_backends({"app": (3, 1)})
    found = text_of(counters)
    app = (("backend", "app"),)
    assert found["lockgate_backend_requests_total", (*app, ("status", "2xx"))] == 2
    assert found["lockgate_backend_requests_total", (*app, ("status", "5xx"))] == 2
    assert found["lockgate_backend_requests_total", (*app, ("status", "4xx"))] == 0
    assert found["lockgate_backend_connect_failures_total", app] == 2
    assert found["lockgate_backend_response_seconds_count", app] == 2
    assert found["lockgate_backend_response_seconds_sum", app] == pytest.approx(0.004)
    assert found["lockgate_backend_response_seconds_bucket", (*app, ("le", str(BUCKETS[0])))] == 0
    assert found["lockgate_backend_connections", app] == 6
    assert found["lockgate_backend_idle_connections", app] == 2
    assert found["lockgate_backend_requests_total", (("backend", "other"), ("status", "2xx"))] == 0


def test_what_generations_have_counted_stays_and_their_connections_do_not() -> None:
    counters = Counters()
    for generation in range(GENERATIONS * 2):
        rows = counters.begin(["app"] if generation else ["app", "old"], 1)
        row = counters.worker(0, generation, rows)
        row.log(record(200, backend="app"))
        row.set_backends({"app": (1, 0)})
    found = counters.backends()
    assert found["app"].by_status["2xx"] == GENERATIONS * 2
    assert found["app"].open == GENERATIONS
    assert "old" in found


def test_what_one_process_counts_of_backends_another_one_sees() -> None:
    counters = Counters()
    rows = counters.begin(["app"], 1)
    child = os.fork()
    if child == 0:
        counters.worker(0, 0, rows).connect_failed("app")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counters.backends()["app"].connect_failures == 1


# -- what the core tells -----------------------------------------------------------------------------------------------


class Noted(Meter):
    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def handshake_done(self, info: TLSInfo) -> None:
        self.told.append(("done", info.version))

    def handshake_failed(self, reason: str) -> None:
        self.told.append(("failed", reason))

    def connect_failed(self, backend: str) -> None:
        self.told.append(("connect", backend))


def told(world: World) -> list[tuple[str, ...]]:
    noted = world.proxy.meter
    assert isinstance(noted, Noted)
    return noted.told


def test_a_handshake_is_told_once_however_many_requests_follow() -> None:
    world = World(policy=policy(identity("a.test")), meter=Noted())
    peer = client(world, "a.test")
    for _ in range(3):
        peer.send(ask("a.test"))
        world.servers[-1].send(OK)
    assert told(world) == [("done", "TLSv1.3")]
    peer.end.reset()
    assert told(world) == [("done", "TLSv1.3")]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"SSH-2.0-x\r\n", "not_tls"),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "plain_http"),
        (b"\x16\x03\x01\x00\x00", "unexpected_message"),
    ],
)
def test_a_failed_handshake_is_told_with_its_reason(sent: bytes, reason: str) -> None:
    world = World(policy=policy(identity("a.test")), meter=Noted())
    end = world.client(SECURE)
    end.send(sent)
    assert told(world) == [("failed", reason)]
    end.reset()
    assert told(world) == [("failed", reason)]
    assert len(world.records) == 1, "one connection is one line in the log"


def test_so_is_one_that_was_not_finished() -> None:
    for way in ("reset", "eof", "wait", "drain"):
        world = World(policy=policy(identity("a.test")), meter=Noted())
        end = world.client(SECURE)
        if way == "wait":
            world.wait(11)
        elif way == "drain":
            world.proxy.cut_off(world.now)
        else:
            getattr(end, way)()
        ends = {"wait": "client_timeout", "drain": "drained"}
        assert told(world) == [("failed", ends.get(way, "client_gone"))], way


def test_without_tls_there_is_no_handshake() -> None:
    world = World(meter=Noted())
    end = world.client()
    end.send(GET)
    world.servers[0].send(OK)
    end.reset()
    world.client().eof()
    assert told(world) == []


def test_connections_to_backends_are_told_and_counted() -> None:
    backend = BackendGroup("app", ("10.0.0.1:80", "10.0.0.2:80"))
    world = World(backends=(backend,), meter=Noted(), accept_at_once=False)
    assert world.proxy.connections_by_backend() == {}
    one, other = world.client(), world.client()
    one.send(GET)
    other.send(GET)
    assert world.proxy.connections_by_backend() == {"app": (2, 0)}
    world.servers[0].refuse()
    assert told(world) == [("connect", "app")]
    assert world.proxy.connections_by_backend() == {"app": (2, 0)}, "another server is tried"
    for server in world.servers[1:]:
        server.accept()
    world.servers[1].send(OK)
    assert world.proxy.connections_by_backend() == {"app": (2, 1)}
    world.servers[2].send(head("HTTP/1.1 200 OK\nContent-Length: 0\nConnection: close"))
    world.servers[2].eof()
    assert world.proxy.connections_by_backend() == {"app": (1, 1)}
    world.wait(31)
    world.servers[1].eof()
    assert world.proxy.connections_by_backend() == {"app": (0, 0)}


def test_connections_over_http_2_are_idle_between_streams() -> None:
    world = World(backends=(BackendGroup("app", ("10.0.0.1:80",), protocol="h2c"),), meter=Noted())
    world.client().send(GET)
    assert world.proxy.connections_by_backend() == {"app": (1, 0)}
    server = Server(world.servers[0])
    server.answer(1, b"hello")
    assert world.proxy.connections_by_backend() == {"app": (1, 1)}
    world.servers[0].reset()
    assert world.proxy.connections_by_backend() == {"app": (0, 0)}


# -- all together ------------------------------------------------------------------------------------------------------

TEXT = """
    workers = 2
    admin = "127.0.0.1:0"
    [[listen]]
    address = "127.0.0.1:0"
    [[certificate]]
    cert = "site.pem"
    key = "site.key"
    [[route]]
    backend = "app"
    [[route]]
    path = "/down"
    backend = "down"
    [backend.app]
    servers = ["{server}"]
    [backend.down]
    servers = ["127.0.0.1:{down}"]
"""


def scraped(service: Service) -> Found:
    return samples(run("curl", "-sS", f"{admin_of(service)}metrics").stdout.encode())


def test_through_serve(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=TEXT.format(server=backend.address, down=free_port()))
    port = int(url(service).rpartition(":")[2])
    before = scraped(service)
    assert handshakes(before, "failed") == 0
    context = ssl_client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
            context.wrap_socket(sock, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while secure.recv(4096):
                pass
            session = secure.session
    assert curl(folder, "-o", "/dev/null", "-w", "%{http_code}", f"{url(service)}/down") == "502"
    stranger = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock, pytest.raises(ssl.SSLError):
        stranger.wrap_socket(sock, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"SSH-2.0-client\r\n")
        assert sock.recv(100)

    def failed(reason: str) -> float:
        return scraped(service).get(("lockgate_tls_handshake_failures_total", (("reason", reason),)), 0)

    wait_until(lambda: failed("unknown_ca") == 1, "the client that does not trust us")
    wait_until(lambda: failed("not_tls") == 1, "the one that speaks something else")

    def answered(name: str, status: str) -> float:
        return scraped(service)["lockgate_backend_requests_total", (("backend", name), ("status", status))]

    wait_until(lambda: answered("app", "2xx") == 2, "the requests")
    wait_until(lambda: answered("down", "5xx") == 1, "the one that could not be answered")
    found = scraped(service)
    assert handshakes(found, "full", "TLSv1.2") == 1
    assert handshakes(found, "resumed", "TLSv1.2") == 1
    assert handshakes(found, "full", "TLSv1.3") == 1, "curl's"
    assert handshakes(found, "failed") == 2
    app, down = (("backend", "app"),), (("backend", "down"),)
    assert found["lockgate_backend_connect_failures_total", app] == 0
    assert found["lockgate_backend_connect_failures_total", down] == 1
    assert found["lockgate_backend_response_seconds_count", app] == 2
    assert found["lockgate_backend_response_seconds_count", down] == 0

    def idle() -> float:
        return scraped(service)["lockgate_backend_idle_connections", app]

    wait_until(lambda: idle() >= 1, "the connections that are kept")
    file = folder / "lockgate.toml"
    file.write_text(file.read_text() + "[limits]\nidle_timeout = 5\n")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
    wait_until(lambda: idle() == 0, "the connections of the old ones to be forgotten")
    assert scraped(service)["lockgate_backend_requests_total", (*app, ("status", "2xx"))] == 2
