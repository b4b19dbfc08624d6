"""OpenSSL's own client at the TLS port: versions, resumption, refusals with their alert, choice by name."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support_e2e import Certificates, Lockgate, Nginx, program, run, wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def s_client(
    gate: Lockgate, *arguments: str | Path, name: str = "localhost", send: bytes = REQUEST
) -> subprocess.CompletedProcess[str]:
    return run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{gate.port}", "-CAfile", gate.ca, "-servername", name, "-ign_eof",
        *arguments, input=send, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_version(gate: Lockgate, version: str) -> None:
    done = s_client(gate, f"-tls{version}", "-verify_return_error", "-verify_hostname", "localhost")
    assert f"New, TLSv{version.replace('_', '.')}, Cipher is" in done.stdout
    assert "Verify return code: 0 (ok)" in done.stdout
    assert "HTTP/1.1 200 OK" in done.stdout
    assert "hello from nginx" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_resumption(gate: Lockgate, version: str, tmp_path: Path) -> None:
    session = tmp_path / "session"
    first = s_client(gate, f"-tls{version}", "-sess_out", session)
    assert "New, TLS" in first.stdout
    second = s_client(gate, f"-tls{version}", "-sess_in", session)
    assert f"Reused, TLSv{version.replace('_', '.')}, Cipher is" in second.stdout
    assert "hello from nginx" in second.stdout


@contextmanager
def typed_into(gate: Lockgate, log: Path, version: str) -> Iterator[Callable[[bytes, str], None]]:
    """s_client as if someone typed: the yielded function sends a line, then waits for a text in its output.

    A line that is only `R` or `K` is a command to s_client: renegotiate, update keys.
    """
    command = [
        program("openssl"),
        "s_client",
        "-connect",
        f"127.0.0.1:{gate.port}",
        "-servername",
        "localhost",
        version,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
    assert process.stdin is not None

    def type_line(line: bytes, expected: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()
        wait_until(lambda: expected in log.read_text(errors="backslashreplace"), f"{expected!r} after {line!r}")

    try:
        yield type_line
    finally:
        process.kill()
        process.communicate()
        print(log.read_text(errors="backslashreplace")[-3000:])


def test_renegotiation_is_refused(gate: Lockgate, tmp_path: Path) -> None:
    with typed_into(gate, tmp_path / "log", "-tls1_2") as type_line:
        type_line(b"", "Verify return code")
        type_line(b"R\n", "RENEGOTIATING")
        type_line(b"", "no renegotiation")
    assert gate.serves()


def test_keys_are_updated_in_both_directions(gate: Lockgate, tmp_path: Path) -> None:
    with typed_into(gate, tmp_path / "log", "-tls1_3") as type_line:
        type_line(b"", "Verify return code")
        type_line(b"K\n", "KEYUPDATE")
        type_line(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "hello from nginx")


@pytest.mark.parametrize(
    ("arguments", "alert"),
    [
        (("-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"), "alert number 70"),
        (("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"), "alert number 40"),
        (("-tls1_3", "-groups", "secp521r1"), "alert number 40"),
        (("-alpn", "smtp"), "alert number 120"),
    ],
    ids=["version", "cipher", "group", "alpn"],
)
def test_refusal_says_why(gate: Lockgate, arguments: tuple[str, ...], alert: str) -> None:
    done = s_client(gate, *arguments)
    assert done.returncode != 0
    assert alert in done.stderr
    assert gate.serves()


@pytest.mark.parametrize("offer", ["http/1.1", "h3,http/1.1"])
def test_alpn(gate: Lockgate, offer: str) -> None:
    assert "ALPN protocol: http/1.1" in s_client(gate, "-alpn", offer).stdout


@pytest.fixture(scope="module")
def two(serve_toml_once: Callable[[str], Lockgate], certificates: Certificates, web: Nginx) -> Lockgate:
    """Two certificates, neither the default."""
    tables = ""
    for name in ("a.test", "b.test"):
        chain, key = certificates.issue(name)
        tables += f'[[certificate]]\ncert = "{chain}"\nkey = "{key}"\n'
    return serve_toml_once(f'{tables}\n[[route]]\nbackend = "web"\n[backend.web]\nservers = ["127.0.0.1:{web.port}"]\n')


class TestServerNames:
    @pytest.mark.parametrize("name", ["a.test", "b.test", "A.TEST"])
    def test_name_chooses_the_certificate(self, two: Lockgate, name: str) -> None:
        done = s_client(
            two, "-verify_hostname", name.lower(), name=name, send=REQUEST.replace(b"localhost", name.encode())
        )
        assert "Verify return code: 0 (ok)" in done.stdout
        assert "HTTP/1.1 200" in done.stdout

    def test_unknown_name_is_refused(self, two: Lockgate) -> None:
        done = s_client(two, name="c.test")
        assert "alert number 112" in done.stderr
        assert s_client(two, "-verify_hostname", "a.test", name="a.test").returncode == 0

    def test_request_for_the_other_name_is_misdirected(self, two: Lockgate) -> None:
        done = s_client(two, name="a.test", send=REQUEST.replace(b"localhost", b"b.test"))
        assert "HTTP/1.1 421" in done.stdout
