"""ACME against a real CA: pebble in strict mode, which refuses nonces and really validates, with lockgate as users start it.

pebble's resolver is pebble-challtestsrv, which says that every name is at 127.0.0.1. Time is real but for renewals, which are
brought about by a clock that is ahead or by what is written in the state folder: nothing sleeps.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from urllib.request import urlopen

import pytest
from cryptography import x509
from support_e2e import (
    ADAPTERS,
    Certificates,
    Lockgate,
    Nginx,
    Service,
    lockgate,
    program,
    run,
    started,
    wait_until,
)
from support_ports import free_port

from lockgate.certs.acme.client import Registration
from lockgate.certs.acme.jose import AccountKey
from lockgate.certs.acme.machine import Account, Done, Fetch, Steps
from lockgate.certs.acme.renewal import Schedule
from lockgate.certs.acme.state import AcmeState
from lockgate.server import acme_fetch
from lockgate.server.check import prepare
from lockgate.server.config import read_file
from lockgate.server.renewer import Renewer

MAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
KEY_ID = "kid-1"
LIFE = 24 * 3600


@dataclass
class Pebble:
    """A CA with its directory, and the ports on which it validates."""

    service: Service
    directory: str
    trusted: Path
    """The authority of the CA's own server."""
    roots: Path
    """The root of what it issues; another one each time it starts."""
    tls_port: int
    http_port: int


@contextmanager
def pebble(folder: Path, certificates: Certificates, *, external: bool = False) -> Iterator[Pebble]:
    chain, key = certificates.issue("localhost", "127.0.0.1")
    ports = {name: free_port() for name in ("acme", "manage", "http", "tls", "dns", "dns_manage")}
    settings = {
        "listenAddress": f"127.0.0.1:{ports['acme']}",
        "managementListenAddress": f"127.0.0.1:{ports['manage']}",
        "certificate": str(chain),
        "privateKey": str(key),
        "httpPort": ports["http"],
        "tlsPort": ports["tls"],
        "ocspResponderURL": "",
        "externalAccountBindingRequired": external,
        "externalAccountMACKeys": {KEY_ID: MAC_KEY} if external else {},
        "certificateValidityPeriod": LIFE,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    dns = f"127.0.0.1:{ports['dns']}"
    off = [argument for name in ("-http01", "-https01", "-tlsalpn01", "-defaultIPv6") for argument in (name, "")]
    resolver = [program("pebble-challtestsrv"), "-dns01", dns, "-management", f"127.0.0.1:{ports['dns_manage']}", *off]
    command = [program("pebble"), "-strict", "-config", str(folder / "pebble.json"), "-dnsserver", dns]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PEBBLE_VA_ALWAYS_VALID"},
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": "40",
        "PEBBLE_AUTHZREUSE": "0",
    }
    with (
        started(resolver, folder / "challtestsrv.log"),
        started(command, folder / "pebble.log", environment) as service,
    ):
        context = ssl.create_default_context(cafile=str(certificates.ca))
        roots = folder / "roots.pem"

        def ready() -> bool:
            assert service.process.poll() is None, service.output()
            try:
                with urlopen(f"https://localhost:{ports['manage']}/roots/0", context=context, timeout=5) as answer:
                    roots.write_bytes(answer.read())
            except OSError:
                return False
            return True

        wait_until(ready, "pebble")
        url = f"https://localhost:{ports['acme']}/dir"
        yield Pebble(service, url, certificates.ca, roots, ports["tls"], ports["http"])


@pytest.fixture
def ca(tmp_path: Path, certificates: Certificates) -> Iterator[Pebble]:
    with pebble(tmp_path, certificates) as made:
        yield made


TEXT = """
state = "state"
adapter = "{adapter}"
workers = 2
access_log = "-"
[[listen]]
address = "127.0.0.1:{tls_port}"
[[listen]]
address = "127.0.0.1:{http_port}"
redirect_https = true
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:{backend}"]
[limits]
handshake_timeout = 30
[[host]]
names = {names}
[host.acme]
email = "admin@example.com"
directory = "{directory}"
ca = "{trusted}"
{more}
"""

Begin = Callable[..., "Site"]


@dataclass
class Site(Lockgate):
    """lockgate with certificates from pebble."""

    folder: Path

    @property
    def state(self) -> AcmeState:
        return AcmeState(self.folder / "state")

    def is_at_rest(self) -> bool:
        """Whether the renewer has got a certificate for a.test, and asked when to renew it."""
        schedule = self.state.schedule("a.test")
        return schedule is not None and schedule.check_at > 0

    def serial(self) -> int:
        """Of the certificate for a.test in the state folder."""
        stored = self.state.certificate(["a.test"])
        assert stored is not None
        return x509.load_pem_x509_certificate(stored.certificate.chain_pem).serial_number

    def serves_the_newest(self) -> bool:
        """Whether that is what clients get, whichever worker they get to."""
        return all(self.served("a.test").serial_number == self.serial() for _ in range(8))

    def get(self, name: str, *more: str) -> str:
        """What curl gets from `https://NAME/`, verifying."""
        address = f"{name}:{self.port}:127.0.0.1"
        options = ("-sS", "--max-time", "90", "--cacert", str(self.ca), "--resolve", address)
        done = run("curl", *options, *more, f"https://{name}:{self.port}/")
        return done.stdout or done.stderr

    def served(self, name: str) -> x509.Certificate:
        """The certificate that a client gets."""
        context = ssl.create_default_context(cafile=str(self.ca))
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=90) as sock,
            context.wrap_socket(sock, server_hostname=name) as secure,
        ):
            der = secure.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)


@pytest.fixture
def begin(tmp_path: Path, web: Nginx) -> Iterator[Begin]:
    """Starts `lockgate serve` for names by ACME."""
    with ExitStack() as stack:

        def start(ca: Pebble, *names: str, adapter: str = "threads", more: str = "") -> Site:
            text = TEXT.format(
                adapter=adapter, tls_port=ca.tls_port, http_port=ca.http_port, backend=web.port, trusted=ca.trusted,
                directory=ca.directory, names=json.dumps(names), more=more,
            )  # fmt: skip
            path = tmp_path / "lockgate.toml"
            path.write_text(text)
            service = stack.enter_context(lockgate(tmp_path, ca.roots, "-c", path, port=ca.tls_port))
            return Site(service.process, service.log, ca.tls_port, ca.roots, tmp_path)

        yield start


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_one_line_of_configuration_gets_a_certificate(ca: Pebble, begin: Begin, adapter: str) -> None:
    """The first client waits in its handshake for it. The challenge is tls-alpn-01, with acme-tls/1 on the serving port."""
    site = begin(ca, "a.test", "b.test", adapter=adapter)
    assert site.get("a.test") == "hello from nginx\n"
    assert site.get("b.test", "--http2") == "hello from nginx\n"
    leaf = site.served("a.test")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.test", "b.test"]
    assert '"alpn":"acme-tls/1"' in site.output()
    assert "issued by CN=Pebble Intermediate CA" in site.output()
    assert list((site.folder / "state" / "acme" / "challenges").rglob("*.pem")) == []


def test_http_01_is_answered_before_the_redirect(ca: Pebble, begin: Begin) -> None:
    site = begin(ca, "a.test", more='challenge = "http-01"')
    assert site.get("a.test") == "hello from nginx\n"
    assert '"target":"/.well-known/acme-challenge/' in site.output()
    plain = run("curl", "-sS", "-i", f"http://127.0.0.1:{ca.http_port}/.well-known/acme-challenge/{'x' * 30}")
    assert "HTTP/1.1 308" in plain.stdout


def test_external_account_binding(tmp_path: Path, certificates: Certificates, begin: Begin) -> None:
    (tmp_path / "eab.key").write_text(f"{MAC_KEY}\n")
    (tmp_path / "eab.key").chmod(0o600)
    with pebble(tmp_path, certificates, external=True) as ca:
        site = begin(ca, "a.test", more=f'eab_key_id = "{KEY_ID}"\neab_key_file = "eab.key"')
        assert site.get("a.test") == "hello from nginx\n"
        assert MAC_KEY not in site.output()


def test_without_a_needed_binding_the_log_says_so(tmp_path: Path, certificates: Certificates, begin: Begin) -> None:
    with pebble(tmp_path, certificates, external=True) as ca:
        site = begin(ca, "a.test")
        wait_until(lambda: "eab_key_id and eab_key_file are needed" in site.output(), "the message")
        assert "alert internal error" in site.get("a.test")


def test_a_renewed_certificate_comes_into_service(ca: Pebble, begin: Begin) -> None:
    """Somebody wants it renewed now; clients before, at and after that moment are served, and no worker is restarted."""
    site = begin(ca, "a.test")
    first = site.served("a.test")
    workers = site.processes()
    path = site.state.certificate_folder("a.test") / "renewal.json"
    wait_until(site.is_at_rest, "the first check")
    refused: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            body = site.get("a.test")
            if body != "hello from nginx\n":
                refused.append(body)

    clients = threading.Thread(target=ask)
    clients.start()
    try:
        path.write_bytes(Schedule().to_json())
        # A renewer asks once in a minute at most, so this one is replaced; the new one looks at what is there
        os.kill(site.processes()[-1], signal.SIGKILL)
        wait_until(lambda: site.serial() != first.serial_number and site.serves_the_newest(), "the renewal")
    finally:
        over.set()
        clients.join()
    assert refused == []
    assert site.processes()[:3] == workers[:3]
    assert site.served("a.test").public_key() != first.public_key()


def test_it_is_renewed_in_time_and_the_old_one_survives_an_outage(ca: Pebble, begin: Begin) -> None:
    """Another machine that shares the folder, with a clock that is ahead; the challenges are answered by this one."""
    site = begin(ca, "a.test")
    first = site.served("a.test")
    said: list[str] = []
    ahead = [0.0]

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, 1.0))
        ahead[0] += max(0.0, seconds - 1.0)

    prepared = prepare(read_file(site.folder / "lockgate.toml"))
    other = Renewer(
        prepared.config,
        AcmeState(site.folder / "state"),
        fetch=lambda request, acme: acme_fetch.fetch(request, acme_fetch.tls_context(acme.ca)),
        ask=acme_fetch.is_allowed_by,
        clock=lambda: time.time() + ahead[0],
        monotonic=lambda: time.monotonic() + ahead[0],
        sleep=sleep,
        random=Random(1).random,
        submit=lambda authority, job: job(),
        say=said.append,
    )
    wait_until(site.is_at_rest, "the first check")
    other.start()
    other.turn()
    ahead[0] += LIFE * 0.5
    other.turn()
    assert not any("issued by" in line for line in said)
    ahead[0] += LIFE * 0.2

    def renewed() -> bool:
        other.turn()
        ahead[0] += 60  # should the other process hold the lock, which it may for a moment more
        return bool(said)

    wait_until(renewed, "the renewal")
    assert "issued by" in said[0]
    assert site.serial() != first.serial_number
    wait_until(site.serves_the_newest, "the new certificate in all workers")

    ca.service.process.kill()
    ca.service.process.wait()
    ahead[0] += LIFE * 0.7
    wait_until(lambda: bool(other.turn()) and len(said) > 1, "the failure")
    assert "no answer" in said[-1]
    assert "the old one" in said[-1]
    assert site.serves_the_newest()
    assert site.get("a.test") == "hello from nginx\n"


class Deactivation(Registration):
    """Ends the account of a key, as its owner may do at any time (RFC 8555 section 7.3.6)."""

    def _run(self) -> Steps[Done]:
        yield from self._register()
        yield from self._post(self.account.url, {"status": "deactivated"}, "the end")
        return Done()


def deactivate(account: Account, trusted: Path) -> None:
    machine = Deactivation(account, random=Random(1).random)
    action = machine.begin(time.time())
    while isinstance(action, Fetch):
        action = machine.answered(acme_fetch.fetch(action, acme_fetch.tls_context(trusted)), time.time())
    assert isinstance(action, Done)


@pytest.mark.parametrize("how", ["deactivated", "vanished", "of another CA"])
def test_an_account_that_is_refused_is_found_again_or_made_anew(ca: Pebble, begin: Begin, how: str) -> None:
    site = begin(ca, "a.test")
    first = site.served("a.test")
    wait_until(site.is_at_rest, "the first check")
    accounts = site.folder / "state" / "acme" / "accounts"
    [key], [facts] = list(accounts.glob("*.pem")), list(accounts.glob("*.json"))
    pem, known = key.read_bytes(), json.loads(facts.read_text())
    if how == "deactivated":
        deactivate(Account(ca.directory, AccountKey.from_pem(pem)), ca.trusted)
    else:
        before, _, number = known["url"].rpartition("/")
        url = f"{before}/{number[::-1]}" if how == "vanished" else "https://other.test/account/1"
        facts.write_text(json.dumps({**known, "url": url}))
    (site.state.certificate_folder("a.test") / "renewal.json").write_bytes(Schedule().to_json())
    os.kill(site.processes()[-1], signal.SIGKILL)  # the new one looks at what is there, and may ask at once
    wait_until(lambda: site.serial() != first.serial_number and site.serves_the_newest(), "the renewal")
    aside = list(accounts.glob("*.pem.ended-*"))
    if how == "deactivated":
        assert f"the CA has ended the account {known['url']}" in site.output()
        assert [one.read_bytes() for one in aside] == [pem]
        assert json.loads(facts.read_text())["url"] != known["url"]
    else:
        assert f"its key has {known['url']} now" in site.output()
        assert aside == []
        assert key.read_bytes() == pem
        assert json.loads(facts.read_text()) == known
    assert "a bug in the renewer" not in site.output()


def test_a_restart_serves_what_is_there_without_the_ca(ca: Pebble, begin: Begin) -> None:
    site = begin(ca, "a.test")
    first = site.served("a.test")
    assert site.terminate() == 0
    ca.service.process.kill()
    ca.service.process.wait()
    again = begin(ca, "a.test")
    assert again.served("a.test") == first
    assert again.get("a.test") == "hello from nginx\n"


class Asked(BaseHTTPRequestHandler):
    """Says which names may have a certificate."""

    names: list[str]

    def do_GET(self) -> None:
        name = self.path.rpartition("domain=")[2]
        self.names.append(name)
        self.send_response(200 if name.endswith(".customer.test") else 403)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    names: list[str] = []
    handler = type("Handler", (Asked,), {"names": names})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/allowed", names
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_on_demand(ca: Pebble, begin: Begin, asked: tuple[str, list[str]], adapter: str) -> None:
    """Handshakes wait while their certificates are got; names that are not allowed are refused, and cost the CA nothing."""
    url, names = asked
    site = begin(ca, adapter=adapter, more=f'on_demand = true\nask = "{url}"')
    customers = [f"{letter}.customer.test" for letter in "abcdef"]
    bodies: list[str] = []
    clients = [threading.Thread(target=lambda name=name: bodies.append(site.get(name))) for name in customers]
    for client in clients:
        client.start()
    assert "unrecognized name" in site.get("evil.test")
    for client in clients:
        client.join()
    assert bodies == ["hello from nginx\n"] * len(customers)
    assert sorted(names) == sorted([*customers, "evil.test"])
    assert "evil.test" not in ca.service.output()
    assert "421" in site.get("a.customer.test", "-H", "Host: b.customer.test", "-o", "/dev/null", "-w", "%{http_code}")


def test_new_names_are_bounded_over_a_restart(ca: Pebble, begin: Begin, asked: tuple[str, list[str]]) -> None:
    url, _ = asked
    more = f'on_demand = true\nask = "{url}"\nmax_per_hour = 2'
    site = begin(ca, more=more)
    for letter in "ab":
        assert site.get(f"{letter}.customer.test") == "hello from nginx\n"
    assert "unrecognized name" in site.get("c.customer.test")
    assert "certificate for c.customer.test: not asked for, as there were 2 new names" in site.output()
    assert site.terminate() == 0
    site = begin(ca, more=more)
    assert "unrecognized name" in site.get("d.customer.test")
    assert "certificate for d.customer.test: not asked for, as there were 2 new names" in site.output()
    assert site.get("a.customer.test") == "hello from nginx\n", "what is there is there"
    assert not any(f"{letter}.customer.test" in ca.service.output() for letter in "cd")
    assert sorted(site.state.issued_names()) == ["a.customer.test", "b.customer.test"]
