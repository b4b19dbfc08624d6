"""What a configuration means, and that the reference in docs/ says the same."""

from __future__ import annotations

import dataclasses
import re
import ssl
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
from support_certs import rsa_key
from support_config import GOOD, found, load, write_pem
from support_mtls import clients, pem_of, revocation_list, web
from support_tls import SSLPeer, authority, rsa_pem, server_pem, ssl_client_context

from lockgate.core.events import NEED_DATA, PAUSED, ClientHelloReceived, Role
from lockgate.core.limits import ZERO_IS_FINE, Limits
from lockgate.core.proxy.policy import ForwardRules
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ServerContext
from lockgate.server import config
from lockgate.server.tables import fields_of
from lockgate.server.values import Address

DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"

DESIGN_SAMPLE = """
[[listen]]
address = "127.0.0.1:8443"            # TLS
[[listen]]
address = "127.0.0.1:8080"
redirect_https = true

[[certificate]]                        # several: chosen by SNI
cert = "certs/example.com.pem"
key  = "certs/example.com.key"

[[route]]                              # first by host, then longest path
host = "example.com"
path = "/login"
backend = "auth"
[[route]]
host = "example.com"
path = "/"
backend = "products"

[backend.auth]
servers = ["127.0.0.1:9001"]
[backend.products]
servers = ["127.0.0.1:9002", "127.0.0.1:9003"]
balance = "least_conn"
[backend.payments]                     # end to end: encrypted again, verified by default
servers = ["127.0.0.1:9443"]
tls = { ca = "internal-ca.pem", server_name = "payments.internal" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    return tmp_path


def test_sample_of_the_design(tmp_path):
    (tmp_path / "certs").mkdir()
    write_pem(tmp_path / "certs", "example.com", authority().issue("example.com"))
    (tmp_path / "internal-ca.pem").write_bytes(authority().pem)
    prepared = load(tmp_path, DESIGN_SAMPLE)
    read = prepared.config
    assert [(str(one.address), one.is_tls, one.redirect_https) for one in read.listen] == [
        ("127.0.0.1:8443", True, False),
        ("127.0.0.1:8080", False, True),
    ]
    assert read.certificate[0].cert == tmp_path / "certs" / "example.com.pem"
    assert [(route.host, route.path, route.backend) for route in read.route] == [
        ("example.com", "/login", "auth"),
        ("example.com", "/", "products"),
    ]
    assert read.backend["products"].servers == ("127.0.0.1:9002", "127.0.0.1:9003")
    assert read.backend["products"].balance == "least_conn"
    assert read.backend["payments"].tls.server_name == "payments.internal"
    assert prepared.policy.backends["payments"].tls is not None
    assert prepared.policy.backends["payments"].server_name == "payments.internal"
    assert [identity.names for identity in prepared.policy.identities] == [("example.com",)]
    assert [str(warning).rpartition("/")[2] for warning in prepared.warnings] == [
        'lockgate.toml:26: warning: backend "payments" is never used; '
        'add [[route]] with backend = "payments", or remove it'
    ]


def test_defaults(folder):
    read = load(folder, GOOD).config
    assert read.limits == Limits()
    assert read.forward == ForwardRules()
    assert (read.adapter, read.gear, read.workers) == ("threads", "auto", None)
    assert (read.access_log, read.access_log_format) == (None, "json")
    assert (read.tls.min_version, read.tls.strict_sni) == ("TLSv1.2", None)
    assert read.route[0].host == ""
    assert read.route[0].path == "/"


def test_everything_that_can_be_set(folder):
    (folder / "ca.pem").write_bytes(authority().pem)
    read = load(
        folder,
        """
        adapter = "trio"
        gear = "portable"
        workers = 3
        access_log = "logs.txt"
        access_log_format = "combined"
        [tls]
        min_version = "TLSv1.3"
        strict_sni = true
        [limits]
        idle_timeout = 5
        max_body = 1_000_000
        [forward]
        forwarded = true
        underscore_fields = "refuse"
        [[listen]]
        address = "[::1]:8443"
        tls = true
        redirect_https = true
        https_port = 443
        trusted = ["10.0.0.0/8", "2001:db8::1"]
        proxy_protocol = ["10.1.0.0/16"]
        [[listen]]
        address = "unix:/run/lockgate.sock"
        tls = false
        [[certificate]]
        cert = "site.pem"
        key = "site.key"
        default = true
        [[route]]
        host = "*.Example.TEST."
        path = "/shop/"
        backend = "app"
        [backend.app]
        servers = ["unix:/run/app.sock", "[2001:DB8::1]:80", "App.internal:8080"]
        balance = "round_robin"
        proxy_protocol = "v2"
        tls = { ca = "ca.pem", server_name = "app.internal" }
        """,
    ).config
    assert (read.adapter, read.gear, read.workers) == ("trio", "portable", 3)
    assert read.access_log == folder / "logs.txt"
    assert read.access_log_format == "combined"
    assert (read.tls.min_version, read.tls.strict_sni) == ("TLSv1.3", True)
    assert read.limits == Limits(idle_timeout=5.0, max_body=1_000_000)
    assert read.forward == ForwardRules(forwarded=True, underscore_fields="refuse")
    first, second = read.listen
    assert (first.address, first.is_tls, first.https_port) == (Address("::1", 8443), True, 443)
    assert first.trusted == (ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128"))
    assert (first.proxy_protocol, second.proxy_protocol) == ((ip_network("10.1.0.0/16"),), ())
    assert read.backend["app"].proxy_protocol == "v2"
    assert (str(second.address), second.is_tls) == ("unix:/run/lockgate.sock", False)
    assert (read.route[0].host, read.route[0].path) == ("*.example.test", "/shop/")
    assert read.backend["app"].servers == ("unix:/run/app.sock", "[2001:db8::1]:80", "app.internal:8080")


def test_access_log_on_standard_output(folder):
    assert load(folder, 'access_log = "-"\n' + GOOD).config.access_log == "-"


def agreed_cipher(context: ServerContext, only: str) -> str:
    """What a client of TLS 1.2 that knows this cipher only agrees on."""
    settings = ssl_client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    settings.set_ciphers(only)
    client, server = SSLPeer(settings, server_name="localhost"), TLSConnection(Role.SERVER)
    for _ in range(4):
        server.receive_data(client.data_to_send())
        while (event := server.next_event()) not in (NEED_DATA, PAUSED):
            if isinstance(event, ClientHelloReceived):
                server.use_context(context)
        client.receive_data(server.data_to_send())
    cipher = client.ssl.cipher()
    assert cipher is not None
    return cipher[0]


def test_ecdsa_and_rsa_for_the_same_names_are_one_identity(folder):
    names = ("localhost", "example.test", "127.0.0.1", "::1")
    write_pem(folder, "ecdsa", authority().issue(*reversed(names)))
    write_pem(folder, "rsa", rsa_pem())
    prepared = load(folder, GOOD.replace("site.", "ecdsa.") + '[[certificate]]\ncert = "rsa.pem"\nkey = "rsa.key"\n')
    assert len(prepared.policy.identities) == 1
    context = prepared.policy.identities[0].context
    assert agreed_cipher(context, "ECDHE-RSA-AES128-GCM-SHA256") == "ECDHE-RSA-AES128-GCM-SHA256"
    assert agreed_cipher(context, "ECDHE-ECDSA-AES128-GCM-SHA256") == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert prepared.warnings == ()


def test_ecdsa_and_rsa_for_some_of_the_names_are_a_pair_for_these(folder):
    write_pem(folder, "rsa", authority().issue("a.test", "localhost", "b.test", key=rsa_key()))
    write_pem(folder, "ecdsa", authority().issue("localhost", "c.test"))
    text = GOOD.replace("site.", "rsa.") + '[[certificate]]\ncert = "ecdsa.pem"\nkey = "ecdsa.key"\ndefault = true\n'
    prepared = load(folder, text)
    assert prepared.warnings == ()
    identities = {one.names: one for one in prepared.policy.identities}
    assert list(identities) == [("a.test", "b.test"), ("localhost",), ("c.test",)]
    assert [one.default for one in identities.values()] == [False, True, False]
    both = identities["localhost",].context
    assert agreed_cipher(both, "ECDHE-RSA-AES128-GCM-SHA256") == "ECDHE-RSA-AES128-GCM-SHA256"
    assert agreed_cipher(both, "ECDHE-ECDSA-AES128-GCM-SHA256") == "ECDHE-ECDSA-AES128-GCM-SHA256"
    # one of which only some names are passed on is of use for the others
    passed = '[[host]]\nnames = ["a.test"]\npassthrough = "tls"\n[backend.tls]\nservers = ["127.0.0.1:9443"]\n'
    assert load(folder, text + passed).warnings == ()


def test_one_of_two_defaults_that_are_a_pair_for_some_names(folder):
    write_pem(folder, "rsa", authority().issue("a.test", "localhost", key=rsa_key()))
    write_pem(folder, "ecdsa", authority().issue("localhost", "c.test"))
    second = '[[certificate]]\ncert = "ecdsa.pem"\nkey = "ecdsa.key"\ndefault = true\n'
    text = GOOD.replace("site.", "rsa.").replace('"rsa.key"', '"rsa.key"\ndefault = true') + second
    (default,) = [one for one in load(folder, text).policy.identities if one.default]
    assert default.names == ("localhost",)


def test_a_name_in_two_certificates_belongs_to_the_first(folder):
    write_pem(folder, "second", authority().issue("second.test", "localhost"))
    second = '[[certificate]]\ncert = "second.pem"\nkey = "second.key"\n'
    prepared = load(folder, GOOD + second)
    assert prepared.policy.identities[1].names == ("second.test",)
    (warning,) = prepared.warnings
    assert warning.warning
    assert warning.line == GOOD.count("\n") + 2
    assert '"localhost" is in' in warning.message


def test_key_in_the_certificate_file(folder):
    both = folder / "site.pem"
    both.write_bytes(server_pem().key + server_pem().chain)
    both.chmod(0o600)
    assert load(folder, GOOD.replace('key = "site.key"\n', "")).policy.identities


def test_redirects_need_neither_certificate_nor_route(tmp_path):
    assert load(tmp_path, '[[listen]]\naddress = "127.0.0.1:80"\nredirect_https = true\n').config.listen


def test_plain_listener_needs_no_certificate(tmp_path):
    text = (
        '[[listen]]\naddress = "127.0.0.1:80"\ntls = false\n[[route]]\nbackend = "a"\n[backend.a]\nservers = ["a:1"]\n'
    )
    assert load(tmp_path, text).config.listen[0].is_tls is False


# -- the reference ---------------------------------------------------------------------------------------------------

TABLES = (
    config.Config, config.Listen, config.CertificateFiles, config.TLSSettings, config.Route, config.Backend,
    config.BackendTLS, config.Host, config.ClientAuth, config.Acme, Limits, ForwardRules,
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_key_is_in_the_reference(table):
    text = DOCS.read_text()
    assert [key for key in fields_of(table) if f"`{key}`" not in text] == []


def test_reference_names_the_defaults():
    text = DOCS.read_text()
    for field in dataclasses.fields(Limits):
        written = (
            "none" if field.default is None else f"{field.default:g}" if field.default < 1e5 else str(field.default)
        )
        assert re.search(rf"\| `{field.name}` \| {re.escape(written)} \|", text), field.name


def test_examples_in_the_reference(folder):
    (folder / "internal-ca.pem").write_bytes(authority().pem)
    (folder / "clients-ca.pem").write_bytes(pem_of(clients().root))
    (folder / "clients-crl.pem").write_bytes(revocation_list(of_root=True))
    write_pem(folder, "lockgate", web())
    (folder / "customers").mkdir()
    for name in ("example.com", "example.com-rsa", "other"):
        pem = (
            authority().issue("other.test") if name == "other" else authority().issue("example.com", "www.example.com")
        )
        write_pem(folder, name, pem)
    blocks = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        listed = [message for _, message in found(folder, block) if not message.startswith("warning: ")]
        assert listed == [], block


def test_schema_can_be_made():
    assert msgspec.json.schema(config.Route, schema_hook=lambda _: {})["$defs"]["Route"]["required"] == ["backend"]


def test_reference_names_the_limits_that_may_be_0():
    sentence = re.search(r"All are above 0, but for (.*?), which may be 0\.", DOCS.read_text(), re.DOTALL)
    assert set(re.findall("`(.*?)`", sentence[1])) == ZERO_IS_FINE
