"""OCSP stapling and the key log through `lockgate serve`, as other programs see them."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509.ocsp import OCSPCertStatus
from support_config import write_pem
from support_e2e import Lockgate, Nginx, run, wait_until
from support_ocsp import answer, certificate, chain_of, delegate, responding
from support_tls import authority

ServeToml = Callable[..., Lockgate]

CONFIGURATION = """
[[certificate]]
cert = "{folder}/site.pem"
key = "{folder}/site.key"
[[route]]
backend = "web"
[backend.web]
servers = ["127.0.0.1:{port}"]
"""


def asked_for_status(gate: Lockgate, folder: Path, *arguments: str) -> str:
    """What `openssl s_client` says of the staple."""
    (folder / "ca.pem").write_bytes(authority().pem)
    done = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{gate.port}", "-servername", "localhost",
        "-CAfile", folder / "ca.pem", *arguments, "-status", input=b"",
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in done.stdout
    return done.stdout


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_stapled_once_it_is_there(serve_toml: ServeToml, web: Nginx, tmp_path: Path, version: str) -> None:
    with responding(lambda number: answer(leaf)) as responder:
        pem = certificate(responder.url)
        leaf = chain_of(pem)[0]
        write_pem(tmp_path, "site", pem)
        text = f"{CONFIGURATION.format(folder=tmp_path, port=web.port)}"
        gate = serve_toml(text, state=tmp_path / "state")
        wait_until(lambda: "OCSP Response Status: successful" in asked_for_status(gate, tmp_path, version), "a staple")
        found = asked_for_status(gate, tmp_path, version)
        assert "Cert Status: good" in found
        assert f"{leaf.serial_number:X}" in found
        assert len(responder.asked) == 1
    # The responder is gone; a new process has the answer from the start.
    assert gate.terminate() == 0
    again = serve_toml(text, state=tmp_path / "state")
    assert "Cert Status: good" in asked_for_status(again, tmp_path, version)


def test_a_client_that_demands_and_verifies_a_staple(serve_toml: ServeToml, web: Nginx, tmp_path: Path) -> None:
    """curl, with OpenSSL's own judgement of an answer that a delegate has signed."""
    with responding(lambda number: answer(leaf, signer=delegate())) as responder:
        pem = certificate(responder.url, must_staple=True)
        leaf = chain_of(pem)[0]
        write_pem(tmp_path, "site", pem)
        gate = serve_toml(CONFIGURATION.format(folder=tmp_path, port=web.port), state=tmp_path / "state")
        wait_until(lambda: "Cert Status: good" in asked_for_status(gate, tmp_path), "a staple")
        gate.ca = tmp_path / "ca.pem"
        done = gate.curl("--cert-status", "-v", f"{gate.url}/")
        assert done.stdout == "hello from nginx\n"
        assert "SSL certificate status: good (0)" in done.stderr


def test_a_revoked_certificate_that_demands_a_staple(serve_toml: ServeToml, web: Nginx, tmp_path: Path) -> None:
    with responding(lambda number: answer(leaf, status=OCSPCertStatus.REVOKED)) as responder:
        pem = certificate(responder.url, must_staple=True)
        leaf = chain_of(pem)[0]
        write_pem(tmp_path, "site", pem)
        gate = serve_toml(CONFIGURATION.format(folder=tmp_path, port=web.port), state=tmp_path / "state")
        wait_until(lambda: "the certificate is revoked" in gate.output(), "a complaint")
        assert "demands an OCSP staple, and there is none yet" in gate.output()
        assert "OCSP response: no response sent" in asked_for_status(gate, tmp_path)


def test_switched_off(serve_toml: ServeToml, web: Nginx, tmp_path: Path) -> None:
    with responding(lambda number: answer(leaf)) as responder:
        pem = certificate(responder.url)
        leaf = chain_of(pem)[0]
        write_pem(tmp_path, "site", pem)
        text = "[tls]\nstapling = false\n" + CONFIGURATION.format(folder=tmp_path, port=web.port)
        gate = serve_toml(text, state=tmp_path / "state")
        time.sleep(1)
        assert "OCSP response: no response sent" in asked_for_status(gate, tmp_path)
        assert responder.asked == []
        assert not (tmp_path / "state").exists()


def test_renewed_only_when_there_is_a_staple(serve_toml: ServeToml, web: Nginx, tmp_path: Path) -> None:
    """Clients that know what the certificate demands never see it without."""
    may_answer = False
    leaves = {}

    def respond(number: int) -> bytes | None:
        serial = responder.asked[number].serial_number
        first = serial == leaves["old"].serial_number
        return answer(leaves["old" if first else "new"]) if first or may_answer else None

    with responding(respond) as responder:
        for name in ("old", "new"):
            pem = certificate(responder.url, must_staple=True)
            leaves[name] = chain_of(pem)[0]
            write_pem(tmp_path, name, pem)
        write_pem(tmp_path, "site", certificate(responder.url))
        for ending in ("pem", "key"):
            (tmp_path / f"site.{ending}").write_bytes((tmp_path / f"old.{ending}").read_bytes())
        gate = serve_toml(CONFIGURATION.format(folder=tmp_path, port=web.port), state=tmp_path / "state")
        wait_until(lambda: "Cert Status: good" in asked_for_status(gate, tmp_path), "a staple")
        for ending in ("key", "pem"):
            (tmp_path / f"new.{ending}").rename(tmp_path / f"site.{ending}")
        wait_until(lambda: len(responder.asked) >= 2, "the question for the new certificate")
        may_answer = True
        assert f"{leaves['old'].serial_number:X}" in asked_for_status(gate, tmp_path)
        name = leaves["new"].fingerprint(hashes.SHA256()).hex()
        (tmp_path / "new.der").write_bytes(answer(leaves["new"]))
        (tmp_path / "new.der").rename(tmp_path / "state" / "ocsp" / f"{name}.der")
        wait_until(lambda: "is renewed" in gate.output(), "the new certificate")
        found = asked_for_status(gate, tmp_path)
        assert found.count(f"{leaves['new'].serial_number:X}") >= 1
        assert "Cert Status: good" in found


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_key_log(serve_toml: ServeToml, web: Nginx, tmp_path: Path, version: str) -> None:
    """Line by line what the client's own log says; and the connection to the backend is in it too."""
    log = tmp_path / "keys.log"
    write_pem(tmp_path, "site", certificate())
    text = CONFIGURATION.format(folder=tmp_path, port=web.h2_port)
    gate = serve_toml(f'[tls]\nkey_log = "{log}"\nstapling = false\n{text}tls = {{ insecure = true }}\n')
    assert "THE KEYS OF ALL CONNECTIONS ARE WRITTEN" in gate.output()
    assert log.stat().st_mode & 0o777 == 0o600
    context = ssl.create_default_context(cadata=authority().pem.decode())
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.keylog_filename = str(tmp_path / "client.log")
    with (
        socket.create_connection(("127.0.0.1", gate.port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert tls.recv(65536).startswith(b"HTTP/1.1 200")
    ours = log.read_text().splitlines()
    theirs = [line for line in (tmp_path / "client.log").read_text().splitlines() if not line.startswith("#")]
    assert theirs
    assert set(theirs) <= set(ours)
    assert all(re.fullmatch(r"[A-Z_0-9]+ [0-9a-f]{64} [0-9a-f]{64,96}", line) for line in ours)
    randoms = {line.split()[1] for line in ours}
    assert len(randoms) == 2, "the client's connection and the one to the backend"
