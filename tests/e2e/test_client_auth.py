"""Client certificates with curl, OpenSSL's client and the standard library, through `lockgate serve` under each adapter."""

from __future__ import annotations

import base64
import functools
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from support_config import write_pem
from support_e2e import ADAPTERS, PATIENCE, Certificates, Lockgate, run, wait_until
from support_http_backend import http_backend
from support_mtls import client_pem, clients, der, pem_of, revocation_list, strangers, uri, web
from support_tls import Pem
from test_tls_client_auth import pin

REVOKED = client_pem(uri("spiffe://prod/gone"), serial=4711)
EXPIRED = client_pem(uri("spiffe://prod/old"), first_day=-9, last_day=-1)
OTHER = client_pem(uri("spiffe://dev/web"))
STRANGER = client_pem(uri("spiffe://prod/web"), authority=strangers())
PEMS = {"web": web(), "revoked": REVOKED, "expired": EXPIRED, "other": OTHER, "stranger": STRANGER}


@dataclass
class Setup:
    """lockgate with hosts that ask, may be shown, or do not ask, under one wildcard certificate; and the clients' files."""

    gate: Lockgate
    folder: Path

    def pair(self, name: str | None) -> list[str | Path]:
        return [] if name is None else ["--cert", self.folder / f"{name}.pem", "--key", self.folder / f"{name}.key"]

    def curl(self, host: str, name: str | None, *more: str, version: str = "--http1.1") -> tuple[str, dict[str, str]]:
        """Status and the fields that the backend saw."""
        resolve = f"{host}:{self.gate.port}:127.0.0.1"
        done = run(
            "curl", "-sS", version, "--cacert", self.gate.ca, "--resolve", resolve, "-w", "\n%{http_code}",
            *self.pair(name), *more, f"https://{host}:{self.gate.port}/seen",
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        return status, dict(json.loads(body)["fields"]) if status == "200" else {}

    def s_client(self, host: str, name: str | None, *more: str | Path) -> subprocess.CompletedProcess[str]:
        files = [] if name is None else [
            "-cert", self.folder / f"{name}.pem", "-cert_chain", self.folder / f"{name}.pem", "-key",
            self.folder / f"{name}.key",
        ]  # fmt: skip
        return run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{self.gate.port}", "-CAfile", self.gate.ca, "-servername", host,
            "-ign_eof", *files, *more, input=f"GET /seen HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(),
        )  # fmt: skip

    def wait_for_log(self, **values: object) -> None:
        """Until a request with these values is in the access log, which is written a little later."""

        def there() -> bool:
            return any(all(entry[key] == value for key, value in values.items()) for entry in self.gate.records())

        wait_until(there, f"{values} in the access log")


CONFIG = """
[[certificate]]
cert = "{chain}"
key = "{key}"
[[host]]
names = ["closed.w.test"]
[host.client_auth]
mode = "required"
ca = "{folder}/clients.pem"
crl = "{folder}/crl.pem"
depth = 1
allow = ["spiffe://prod/*"]
forward = ["client-cert", "xfcc", "san:X-Client-San"]
[[host]]
names = ["maybe.w.test"]
client_auth = {{ mode = "optional", ca = "{folder}/clients.pem", forward = ["subject:X-Client-Subject"] }}
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:{port}"]
"""


Start = Callable[[str], Setup]


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, serve_toml_once: Callable[..., Lockgate], certificates: Certificates
) -> Iterator[Start]:
    """A function that starts it under an adapter, or tells where it runs already."""
    folder = tmp_path_factory.mktemp("clients")
    for name, pem in PEMS.items():
        write_pem(folder, name, pem)
    (folder / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))
    (folder / "crl.pem").write_bytes(revocation_list(4711) + revocation_list(of_root=True))
    chain, key = certificates.issue("*.w.test", "localhost")
    with http_backend() as port:
        text = CONFIG.format(chain=chain, key=key, folder=folder, port=port)
        yield functools.cache(lambda adapter: Setup(serve_toml_once(text, adapter=adapter), folder))


@pytest.fixture(params=ADAPTERS)
def each(request: pytest.FixtureRequest, start: Start) -> Setup:
    """Under each adapter in turn."""
    return start(request.param)


@pytest.fixture
def setup(start: Start) -> Setup:
    """Under one, for what is no business of adapters."""
    return start(ADAPTERS[0])


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_with_a_certificate(each: Setup, version: str) -> None:
    status, fields = each.curl("closed.w.test", "web", version=version)
    assert status == "200"
    leaf, signing = x509.load_pem_x509_certificates(web().chain)
    assert base64.b64decode(fields["client-cert"].strip(":")) == der(leaf)
    chain = [base64.b64decode(item.strip(":")) for item in fields["client-cert-chain"].split(", ")]
    assert chain == [der(signing), der(clients().root)]
    assert 'Subject="CN=web";URI=spiffe://prod/web;DNS=web.clients.example' in fields["x-forwarded-client-cert"]
    assert fields["x-client-san"] == "dns:web.clients.example, uri:spiffe://prod/web"
    each.wait_for_log(client_subject="CN=web", status=200)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_forged_fields_through_curl(each: Setup, version: str) -> None:
    names = (
        "Client-Cert",
        "Client-Cert-Chain",
        "X-Forwarded-Client-Cert",
        "X-Client-Subject",
        "X-Client-San",
        "Client_Cert",
    )
    forged = [word for name in names for word in ("-H", f"{name}: forged")]
    for host, name in (
        ("closed.w.test", "web"),
        ("maybe.w.test", None),
        ("open.w.test", None),
        ("maybe.w.test", "other"),
    ):
        status, fields = each.curl(host, name, *forged, version=version)
        assert status == "200"
        assert "forged" not in fields.values()


def test_optional(setup: Setup) -> None:
    assert setup.curl("maybe.w.test", "other")[1]["x-client-subject"] == "CN=a client"
    assert "x-client-subject" not in setup.curl("maybe.w.test", None)[1]
    assert setup.curl("maybe.w.test", "stranger")[0] == "000"


def test_a_client_that_is_not_allowed(each: Setup) -> None:
    for version in ("--http1.1", "--http2"):
        assert each.curl("closed.w.test", "other", version=version)[0] == "403"
    each.wait_for_log(end="client_refused", status=403)


@pytest.mark.parametrize(
    ("name", "version", "alert"),
    [
        (None, "1_3", 116),
        (None, "1_2", 40),
        ("stranger", "1_3", 48),
        ("stranger", "1_2", 48),
        ("expired", "1_3", 45),
        ("revoked", "1_3", 44),
        ("revoked", "1_2", 44),
    ],
)
def test_alerts(setup: Setup, name: str | None, version: str, alert: int) -> None:
    done = setup.s_client("closed.w.test", name, f"-tls{version}")
    assert f"alert number {alert}" in done.stderr
    assert "HTTP/1.1" not in done.stdout


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_nothing_is_resumed(setup: Setup, version: str, tmp_path: Path) -> None:
    session = tmp_path / "session"
    for host in ("closed.w.test", "maybe.w.test"):
        first = setup.s_client(host, "web", f"-tls{version}", "-sess_out", session)
        assert "HTTP/1.1 200" in first.stdout
        assert "Acceptable client certificate CA names" in first.stdout
        assert "lockgate clients root" in first.stdout
        if session.exists():
            again = setup.s_client(host, "web", f"-tls{version}", "-sess_in", session)
            assert "Reused, TLS" not in again.stdout
            assert "HTTP/1.1 200" in again.stdout


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_resumption_across_vhosts_skips_no_client_certificate(setup: Setup, version: str, tmp_path: Path) -> None:
    """A ticket of the open host is of no use on the protected one (CVE-2025-23419)."""
    session = tmp_path / "session"
    setup.s_client("open.w.test", None, f"-tls{version}", "-sess_out", session)
    assert "Reused, TLS" in setup.s_client("open.w.test", None, f"-tls{version}", "-sess_in", session).stdout
    done = setup.s_client("closed.w.test", None, f"-tls{version}", "-sess_in", session)
    assert "Reused, TLS" not in done.stdout
    assert f"alert number {116 if version == '1_3' else 40}" in done.stderr
    done = setup.s_client("maybe.w.test", None, f"-tls{version}", "-sess_in", session)
    assert "Reused, TLS" not in done.stdout


def test_sni_is_not_host(setup: Setup) -> None:
    """With the standard library: two requests on one connection, the second for the protected host."""
    context = ssl.create_default_context(cafile=setup.gate.ca)
    context.load_cert_chain(setup.folder / "web.pem", setup.folder / "web.key")
    with (
        socket.create_connection(("127.0.0.1", setup.gate.port), timeout=PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname="open.w.test") as tls,
    ):
        for host, status in (("open.w.test", b"200"), ("Closed.w.test.", b"421")):
            tls.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += tls.recv(65536)
            assert answer.startswith(b"HTTP/1.1 " + status)


# -- to the backend --------------------------------------------------------------------------------------------------


def encoded(pem: Pem | Path) -> str:
    found = pem if isinstance(pem, Pem) else Pem(pem.read_bytes(), b"")
    return "sha256/" + base64.b64encode(pin(found)).decode()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_certificate_and_pins_to_the_backend(
    adapter: str, serve_toml: Callable[..., Lockgate], certificates: Certificates, tmp_path: Path
) -> None:
    write_pem(tmp_path, "web", web())
    (tmp_path / "clients.pem").write_bytes(clients().pem)
    chain, key = certificates.issue("localhost")
    backend_chain, backend_key = certificates.issue("backend.w.test")
    wrong = "sha256/" + "A" * 43 + "="
    ours = f'cert = "{tmp_path}/web.pem", key = "{tmp_path}/web.key"'
    trust = f'ca = "{certificates.ca}", server_name = "backend.w.test"'
    settings = {
        "/good": f'{trust}, {ours}, pins = ["{wrong}", "{encoded(backend_chain)}"]',
        "/pinned-only": f'insecure = true, {ours}, pins = ["{encoded(backend_chain)}"]',
        "/wrong-pin": f'{trust}, {ours}, pins = ["{wrong}"]',
        "/wrong-pin-insecure": f'insecure = true, {ours}, pins = ["{wrong}"]',
        "/no-certificate": trust,
    }
    with http_backend((backend_chain, backend_key), clients=tmp_path / "clients.pem") as port:
        text = f'[[certificate]]\ncert = "{chain}"\nkey = "{key}"\n'
        for path, tls in settings.items():
            name = path[1:]
            text += f'[[route]]\npath = "{path}"\nbackend = "{name}"\n'
            text += f'[backend.{name}]\nservers = ["127.0.0.1:{port}"]\ntls = {{ {tls} }}\n'
        gate = serve_toml(text, adapter=adapter)
        statuses = {}
        for path in settings:
            done = gate.curl("-o", "/dev/null", "-w", "%{http_code}", f"{gate.url}{path}")
            statuses[path] = done.stdout
    assert statuses == {
        "/good": "200",
        "/pinned-only": "200",
        "/wrong-pin": "502",
        "/wrong-pin-insecure": "502",
        "/no-certificate": "502",
    }
    wait_until(lambda: gate.output().count('"detail":"TLS: certificate_not_pinned"') == 2, "the access log")


# -- failing closed --------------------------------------------------------------------------------------------------


def test_mtls_fails_closed_when_the_authority_is_missing(
    serve_toml: Callable[..., Lockgate], certificates: Certificates, tmp_path: Path
) -> None:
    """At a reload the old rule stays in force (CVE-2026-27586); at a start nothing is served."""
    ca = tmp_path / "clients.pem"
    ca.write_bytes(clients().pem)
    write_pem(tmp_path, "web", web())
    chain, key = certificates.issue("localhost")
    with http_backend() as port:
        text = f"""
            [[certificate]]
            cert = "{chain}"
            key = "{key}"
            [[host]]
            names = ["localhost"]
            client_auth = {{ mode = "required", ca = "{ca}" }}
            [[route]]
            backend = "app"
            [backend.app]
            servers = ["127.0.0.1:{port}"]
            """
        gate = serve_toml(text)
        shown = ("--cert", tmp_path / "web.pem", "--key", tmp_path / "web.key")
        for content, complaint in (
            (None, "clients.pem: this certificate file does not exist"),
            (b"-----BEGIN CERTIFICATE-----\n", "clients.pem: has a certificate that cannot be decoded"),
        ):
            ca.unlink(missing_ok=True)
            if content is not None:
                ca.write_bytes(content)
            gate.process.send_signal(signal.SIGHUP)
            wait_until(lambda complaint=complaint: complaint in gate.output(), "the complaint")
            assert gate.curl("-w", "%{http_code}", f"{gate.url}/").stdout == "000"
            assert gate.curl("-o", "/dev/null", "-w", "%{http_code}", *shown, f"{gate.url}/").stdout == "200"
        path = tmp_path / "again.toml"
        path.write_text(f'[[listen]]\naddress = "127.0.0.1:0"\n{text}')
        done = run(sys.executable, "-m", "lockgate", "serve", "-c", path)
        assert done.returncode == 2
        assert "clients.pem: has a certificate that cannot be decoded" in done.stderr


def test_a_new_revocation_list_is_read_at_sighup(
    serve_toml: Callable[..., Lockgate], certificates: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))
    crl = tmp_path / "crl.pem"
    crl.write_bytes(revocation_list() + revocation_list(of_root=True))
    write_pem(tmp_path, "gone", REVOKED)
    chain, key = certificates.issue("localhost")
    with http_backend() as port:
        gate = serve_toml(f"""
            [[certificate]]
            cert = "{chain}"
            key = "{key}"
            [[host]]
            names = ["localhost"]
            client_auth = {{ mode = "required", ca = "{tmp_path}/clients.pem", crl = "{crl}" }}
            [[route]]
            backend = "app"
            [backend.app]
            servers = ["127.0.0.1:{port}"]
            """)
        words = (
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cert",
            tmp_path / "gone.pem",
            "--key",
            tmp_path / "gone.key",
        )
        assert gate.curl(*words, f"{gate.url}/").stdout == "200"
        crl.write_bytes(revocation_list(4711) + revocation_list(of_root=True))
        gate.process.send_signal(signal.SIGHUP)
        wait_until(lambda: gate.curl(*words, f"{gate.url}/").stdout == "000", "the certificate to be refused")
