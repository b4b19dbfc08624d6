"""`lockgate serve` as a real process with curl in front and a real backend behind: starting, stopping, dying."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from support_config import write_pem
from support_e2e import PATIENCE, Service, started, wait_for_line, wait_until
from support_serve import (
    ADAPTERS,
    ENVIRONMENT,
    PIECE,
    SERVE,
    Backend,
    Download,
    backend,
    curl,
    flags,
    folder,
    logged,
    refuses,
    running,
    start,
    url,
)
from support_tls import authority, rsa_pem, ssl_server_context

from lockgate.server.supervisor import SAME_SIGNAL, YOUNG

__all__ = ["backend", "folder", "start"]


# -- serving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_stop_lets_running_requests_finish(folder, backend, start, adapter):
    service = start(*flags(folder, backend, "--adapter", adapter, "--access-log", "-"))
    assert curl(folder, f"{url(service)}/a?b=1").startswith("app /a?b=1 ")
    download = Download(folder, service, backend)
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: refuses(service), "the listening socket to close")
    assert service.process.poll() is None
    backend.go_on.set()
    assert download.end() == (0, PIECE * 2)
    assert service.wait() == 0
    first, second = logged(service)
    assert (first["target"], first["status"], first["end"]) == ("/a?b=1", 200, "complete")
    assert (first["sni"], first["tls_version"], first["alpn"]) == ("", "TLSv1.3", "h2")
    assert (first["backend"], first["server"], first["route"]) == ("default", backend.address, "/")
    assert (second["target"], second["bytes_out"], second["end"]) == ("/slow", 2000, "complete")
    assert "Traceback" not in service.output()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_gear_is_a_setting(folder, backend, start, adapter):
    service = start(*flags(folder, backend, "--adapter", adapter, "--gear", "portable"))
    assert curl(folder, f"{url(service)}/a").startswith("app /a ")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_stop_at_once(folder, backend, start, adapter):
    service = start(*flags(folder, backend, "--adapter", adapter, "--workers", "2"))
    assert service.terminate() == 0
    assert service.output() == f"listening on {url(service)}\n"


def test_a_stop_before_anything_is_ready(folder, backend):
    # the signal comes at any moment of the start: it ends the process, and nothing is left running
    for pause in (0.3, 0.6, 0.9, 1.2):
        with started([*SERVE, *flags(folder, backend)], folder / "serve.log", ENVIRONMENT) as service:
            time.sleep(pause)
            family = service.processes()
            assert service.terminate() in {0, -signal.SIGTERM, 130}
            wait_until(lambda family=family: not any(map(is_running, family)), "all processes to end")
            assert "Traceback" not in service.output()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_for_all_processes_is_graceful_too(folder, backend, start, number):
    # Ctrl-C reaches all processes of a terminal, systemd signals all processes of a service
    service = start(*flags(folder, backend))
    download = Download(folder, service, backend)
    os.killpg(service.process.pid, number)
    wait_until(lambda: refuses(service), "the listening socket to close")
    backend.go_on.set()
    assert download.end() == (0, PIECE * 2)
    assert service.wait() == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGQUIT])
def test_a_second_signal_cuts_off(folder, backend, start, adapter, second):
    service = start(*flags(folder, backend, "--adapter", adapter, "--access-log", "-"))
    assert curl(folder, url(service)).startswith("app / ")
    download = Download(folder, service, backend)
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: refuses(service), "the listening socket to close")
    time.sleep(2 * SAME_SIGNAL)
    service.process.send_signal(second)
    assert service.wait() == 1
    code, body = download.end()
    assert code != 0
    assert body == PIECE
    assert [entry["target"] for entry in logged(service)][:1] == ["/"]


def test_two_signals_at_once_are_one(folder, backend, start):
    service = start(*flags(folder, backend))
    download = Download(folder, service, backend)
    service.process.send_signal(signal.SIGSTOP)  # so that they come at once although we may be interrupted
    service.process.send_signal(signal.SIGTERM)
    service.process.send_signal(signal.SIGINT)
    service.process.send_signal(signal.SIGCONT)
    wait_until(lambda: refuses(service), "the listening socket to close")
    backend.go_on.set()
    assert download.end() == (0, PIECE * 2)
    assert service.wait() == 0


def test_the_drain_deadline(folder, backend, start):
    text = f"""
        workers = 1
        limits.drain_timeout = 0.5
        listen = [{{ address = "127.0.0.1:0" }}]
        certificate = [{{ cert = "site.pem", key = "site.key" }}]
        route = [{{ backend = "app" }}]
        backend.app.servers = ["{backend.address}"]
        """
    service = start(text=text)
    download = Download(folder, service, backend)
    service.process.send_signal(signal.SIGTERM)
    assert service.wait() == 0
    assert download.end()[0] != 0


# -- workers that die ------------------------------------------------------------------------------------------------


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_worker_is_replaced(folder, backend, start):
    service = start(*flags(folder, backend, "--workers", "2"))
    _, *workers = service.processes()
    assert len(workers) == 2
    time.sleep(YOUNG)  # one that dies young is replaced after a pause
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert curl(folder, "--retry", "3", "--retry-connrefused", url(service)).startswith("app / ")
    wait_until(lambda: len(set(service.processes()[1:]) - set(workers)) == 2, "two new workers")
    assert f"lockgate: worker {workers[0]} was killed by signal 9; it is replaced now" in service.output()
    assert service.terminate() == 0
    assert service.output().count("listening on") == 1


def test_workers_end_when_their_supervisor_is_killed(folder, backend, start):
    service = start(*flags(folder, backend, "--workers", "2"))
    family = service.processes()
    service.process.kill()
    wait_until(lambda: not any(map(is_running, family)), "the workers to end")
    assert refuses(service)


SUPERVISE = """
import os, sys, time
from lockgate.server.supervisor import Generation, Supervisor

def work(number, ready):
    {work}

first = Generation(work, 2, 1.0, lambda: print("ready"), int)
print("exit", Supervisor(first).run())
"""


def supervise(work: str, seconds: float) -> tuple[int | None, str]:
    """(exit code if it ended within so many seconds, what it wrote)"""
    command = [sys.executable, "-c", SUPERVISE.format(work=work)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, text=True
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            return None, process.communicate(timeout=PATIENCE)[0]
        return process.returncode, process.communicate()[0]


def test_workers_that_cannot_start_are_not_tried_for_ever():
    code, output = supervise("raise RuntimeError('no way')", PATIENCE)
    assert code == 0  # of the program above
    assert "lockgate: a worker failed: RuntimeError" in output
    assert "before it was ready; giving up" in output
    assert "exit 1" in output
    assert "ready\n" not in output.replace("was ready", "")


def test_workers_that_die_young_are_replaced_ever_more_slowly(tmp_path):
    command = [sys.executable, "-c", SUPERVISE.format(work="ready(); time.sleep(0.05)")]
    with started(command, tmp_path / "log", ENVIRONMENT) as service:
        wait_until(lambda: "is replaced in 0.4 s" in service.output(), "the pauses to grow")
        service.terminate()
        output = service.output()
    assert "is replaced in 0.1 s" in output
    assert "is replaced in 0.2 s" in output
    assert output.count("is replaced") <= 20
    assert "exit 0" in output


def test_a_worker_that_does_not_stop_is_killed():
    from lockgate.server import supervisor

    ignore = "import signal; ready(); [time.sleep(0.1) for _ in iter(int, 1)]"
    code = SUPERVISE.format(work=ignore).replace(
        "first =", "import lockgate.server.supervisor as s; s.LATE = 0.2\nfirst =", 1
    )
    assert supervisor.LATE > 0.2
    command = [sys.executable, "-c", code.replace("2, 1.0,", "2, 0.1,")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.communicate(timeout=PATIENCE)[0] == "exit 0\n"


# -- listening -------------------------------------------------------------------------------------------------------


def test_port_in_use(folder, backend):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        address = "{}:{}".format(*sock.getsockname())
        done = subprocess.run(
            [*SERVE, *flags(folder, backend, "--listen", address)],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 2
    assert (
        done.stderr
        == f"--listen {address}: address {address} is in use; stop the program that listens there, or use another one\n"
    )


def test_every_kind_of_listener(folder, backend, start):
    path = folder / "lockgate.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))  # left by a process that was killed
    service = start(
        text=f"""
        workers = 1
        [[listen]]
        address = "127.0.0.1:0"
        [[listen]]
        address = "[::1]:0"
        [[listen]]
        address = "127.0.0.1:0"
        redirect_https = true
        [[listen]]
        address = "unix:{path}"
        tls = false
        [[certificate]]
        cert = "site.pem"
        key = "site.key"
        [[route]]
        backend = "app"
        [backend.app]
        servers = ["{backend.address}"]
        """
    )
    wait_for_line(service, r"lockgate\.sock")
    https, https6, http, unix = [line.removeprefix("listening on ") for line in service.output().splitlines()]
    assert unix == f"unix:{path} (http)"
    assert curl(folder, https).startswith("app / ")
    assert curl(folder, "-g", https6).startswith("app / ")
    assert curl(folder, "--unix-socket", str(path), "http://localhost/").startswith("app / ")
    redirect = curl(folder, "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", f"{http}/a?b")
    assert redirect == f"308 {https}/a?b"
    assert service.terminate() == 0
    assert not path.exists()


def test_sockets_from_systemd(folder, backend, start):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        fd = sock.fileno()
        more = f"--cert {folder}/site.pem --key {folder}/site.key --backend {backend.address} --listen 127.0.0.1:{port}"
        script = f'exec 3<&{fd}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" -m lockgate serve {more}'
        os.set_inheritable(fd, True)
        log = folder / "serve.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", script, sys.executable], pass_fds=[fd], stderr=output, env=ENVIRONMENT
            )
        service = Service(process, log)
        try:
            wait_for_line(service, "^listening")
            assert url(service) == f"https://127.0.0.1:{port}"
            assert curl(folder, url(service)).startswith("app / ")
            assert service.terminate() == 0
        finally:
            process.kill()
            process.wait()


# -- policy ----------------------------------------------------------------------------------------------------------


def test_routes_certificates_and_encrypted_backends(folder, start):
    write_pem(folder, "rsa", rsa_pem())
    write_pem(folder, "other", authority().issue("other.test"))
    with (
        running(Backend("plain")) as plain,
        running(Backend("verified", ssl_server_context(authority().issue("inside.test")))) as verified,
    ):
        service = start(
            text=f"""
            workers = 1
            access_log = "log.txt"
            access_log_format = "combined"
            listen = [{{ address = "127.0.0.1:0" }}]
            [[certificate]]
            cert = "site.pem"
            key = "site.key"
            default = true
            [[certificate]]
            cert = "other.pem"
            key = "other.key"
            [[route]]
            backend = "plain"
            [[route]]
            path = "/verified"
            backend = "verified"
            [[route]]
            path = "/untrusted"
            backend = "untrusted"
            [[route]]
            path = "/misnamed"
            backend = "misnamed"
            [[route]]
            path = "/insecure"
            backend = "insecure"
            [[route]]
            host = "other.test"
            path = "/other"
            backend = "plain"
            [backend.plain]
            servers = ["{plain.address}"]
            balance = "least_conn"
            [backend.verified]
            servers = ["{verified.address}"]
            tls = {{ ca = "ca.pem", server_name = "inside.test" }}
            [backend.untrusted]
            servers = ["{verified.address}"]
            tls = {{ server_name = "inside.test" }}
            [backend.misnamed]
            servers = ["{verified.address}"]
            tls = {{ ca = "ca.pem" }}
            [backend.insecure]
            servers = ["{verified.address}"]
            tls = {{ insecure = true }}
            """
        )
        base = url(service)
        assert curl(folder, f"{base}/x").startswith("plain /x ")
        assert curl(folder, f"{base}/verified/x").startswith("verified /verified/x ")
        assert curl(folder, f"{base}/insecure").startswith("verified /insecure ")
        code = ["-o", "/dev/null", "-w", "%{http_code}"]
        assert curl(folder, *code, f"{base}/untrusted") == "502"
        assert curl(folder, *code, f"{base}/misnamed") == "502"
        port = base.rpartition(":")[2]
        named = f"https://other.test:{port}/other"
        assert curl(folder, "--resolve", f"other.test:{port}:127.0.0.1", named).startswith("plain /other ")
        assert service.terminate() == 0
    assert "is not verified" not in service.output()
    assert "are not verified" in service.output()
    lines = (folder / "log.txt").read_text().splitlines()
    assert lines[0].split('"')[1] == "GET /x HTTP/2.0"
    assert len(lines) == 6


def test_the_access_log_has_the_fingerprint_of_clients_if_it_is_wanted(folder, start, backend):
    """The one that curl has, whatever its key share: the same for each of its connections, another one for HTTP/1.1."""
    for wanted in ("true", "false"):
        service = start(
            text=f"""
            workers = 1
            access_log = "-"
            access_log_ja4 = {wanted}
            listen = [{{ address = "127.0.0.1:0" }}, {{ address = "127.0.0.1:0", tls = false }}]
            certificate = [{{ cert = "site.pem", key = "site.key" }}]
            route = [{{ backend = "app" }}]
            backend.app.servers = ["{backend.address}"]
            """
        )
        plain = wait_for_line(service, r"^listening on (http://\S+)$")[1]
        for arguments in ([url(service)], [url(service)], ["--http1.1", url(service)], [plain]):
            assert curl(folder, *arguments).startswith("app / ")
        assert service.terminate() == 0
        found = [entry.get("ja4") for entry in logged(service)]
        if wanted == "false":
            assert found == [None] * 4
            continue
        first, second, older, without = found
        assert first == second != older
        assert re.fullmatch(r"t13[di]\d{4}h2_[0-9a-f]{12}_[0-9a-f]{12}", str(first))
        assert re.fullmatch(r"t13[di]\d{4}h1_[0-9a-f]{12}_[0-9a-f]{12}", str(older))
        assert without is None


def test_hooks_of_a_program(folder, backend):
    program = folder / "program.py"
    program.write_text(
        textwrap.dedent("""
        import sys
        from lockgate.core.proxy.hooks import Answer, Hooks
        from lockgate.server import config, serve
        from lockgate.server.check import prepare

        class Mine(Hooks):
            def on_request(self, exchange):
                exchange.request.headers.add(b"x-mine", b"yes")
                return Answer(418) if exchange.request.target == b"/tea" else None

        sys.exit(serve.run(prepare(config.read_file("lockgate.toml")), hooks=Mine()))
        """)
    )
    (folder / "lockgate.toml").write_text(
        'listen = [{ address = "127.0.0.1:0" }]\ncertificate = [{ cert = "site.pem", key = "site.key" }]\n'
        f'route = [{{ backend = "app" }}]\nbackend.app.servers = ["{backend.address}"]\naccess_log = "-"\n'
    )
    command = ["sh", "-c", f'cd {folder}; exec "$0" program.py', sys.executable]
    with started(command, folder / "serve.log", ENVIRONMENT) as service:
        wait_for_line(service, "^listening")
        base = url(service)
        assert "x-mine: yes" in curl(folder, base).lower()
        assert curl(folder, "-o", "/dev/null", "-w", "%{http_code}", f"{base}/tea") == "418"
        assert service.terminate() == 0
        assert sorted(entry["status"] for entry in logged(service)) == [200, 418]  # two workers write
