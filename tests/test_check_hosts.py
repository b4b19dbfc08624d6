"""`[[host]]` in a configuration: what is passed on, every mistake on its line, and what cannot be reached because of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_config import found, load, one, write_pem
from support_tls import authority, server_pem

TLS = """\
[[listen]]
address = "127.0.0.1:8443"
"""
CERTIFICATE = """\
[[certificate]]
cert = "site.pem"
key = "site.key"
"""
APP = """\
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:9000"]
"""
SECRET = """\
[backend.secret]
servers = ["127.0.0.1:9443"]
"""
HOST = """\
[[host]]
names = ["secret.test", "*.secret.test"]
passthrough = "secret"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    return tmp_path


def test_names_are_passed_on(folder: Path) -> None:
    policy = load(folder, TLS + CERTIFICATE + APP + SECRET + HOST.replace("secret.test", "Secret.Test.", 1)).policy
    assert policy.passthrough == {"secret.test": "secret", "*.secret.test": "secret"}
    assert not found(folder, TLS + CERTIFICATE + APP + SECRET + HOST)


def test_no_certificate_and_no_route_is_needed_to_pass_on(folder: Path) -> None:
    assert not found(folder, TLS + SECRET + HOST)
    plain = '[[listen]]\naddress = "127.0.0.1:8080"\ntls = false\n'
    assert not found(folder, TLS + plain + SECRET + HOST + APP)


def test_but_for_requests_over_tls(folder: Path) -> None:
    line, text = one(folder, TLS + SECRET + HOST + APP)
    assert (line, text.split(";")[0]) == (1, "there is no certificate for the TLS listener 127.0.0.1:8443")
    line, text = one(folder, TLS + CERTIFICATE + SECRET + HOST)
    assert text.startswith("there is no route, so every request gets 404")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ('names = ["secret.test"]\npassthrough = "secrt"', [(3, 'there is no backend "secrt"; write "secret"')]),
        (
            'names = ["secret.test"]\npassthrough = 7',
            [(3, "passthrough is the number 7; write a string in quotes, such as ")],
        ),
        ('names = []\npassthrough = "secret"', [(2, 'this host has no names; write names = ["example.com"]')]),
        ('passthrough = "secret"', [(1, '[[host]] has no names; add names = ["example.com", "*.example.com"]')]),
        (
            'names = ["a.test"]',
            [(1, 'this host has no rules; add acme = { ... }, client_auth = { ... } or passthrough = "NAME OF A')],
        ),
        (
            'names = ["a.test",\n"10.0.0.1",\n"::1"]\npassthrough = "secret"',
            [
                (3, '"10.0.0.1" is an address, and clients only name hosts; write a host name'),
                (4, '"::1" is an address, and clients only name hosts; write a host name'),
            ],
        ),
        (
            'names = ["a.test",\n"A.test"]\npassthrough = "secret"',
            [(3, '"a.test" is in the host of lockgate.toml:2 too; remove one of the two')],
        ),
        (
            'names = "a.test"\npassthrough = "secret"',
            [(2, 'names is the string "a.test"; write a list, such as names = [')],
        ),
        ('names = ["a.test"]\npassthru = "secret"', [(3, 'unknown key "passthru" in [[host]]; write "passthrough"')]),
    ],
)
def test_mistakes(folder: Path, host: str, expected: list[tuple[int, str]]) -> None:
    text = f"[[host]]\n{host}\n" + TLS + CERTIFICATE + APP.replace("[[route]]", "[[route]]\n", 1)
    text += SECRET + '[[host]]\nnames = ["b.test"]\npassthrough = "secret"\n'
    listed = [(line, message.replace(str(folder) + "/", "")) for line, message in found(folder, text)]
    assert len(listed) == len(expected)
    for (line, message), (wanted_line, wanted) in zip(listed, expected, strict=True):
        assert (line, message[: len(wanted)]) == (wanted_line, wanted)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("tls = { insecure = true }", 'backend "secret" has tls, so what is passed on would be encrypted twice'),
        ('protocol = "h2c"', 'backend "secret" has protocol = "h2c", and what is passed on is no HTTP of ours'),
    ],
)
def test_a_backend_that_cannot_be_passed_on_to(folder: Path, keys: str, fault: str) -> None:
    listed = found(folder, TLS + CERTIFICATE + APP + HOST + SECRET + keys)
    assert (12, fault) in [(line, text.split(";")[0]) for line, text in listed]


def test_a_backend_for_both(folder: Path) -> None:
    line, text = one(folder, TLS + CERTIFICATE + APP + HOST.replace('= "secret"', '= "app"'))
    assert (line, text.split(";")[0]) == (
        12,
        'warning: backend "app" gets TLS from this host and plain HTTP from a route',
    )


def test_no_listener_speaks_tls(folder: Path) -> None:
    listed = found(folder, TLS + "tls = false\n" + APP + HOST + SECRET)
    assert [text.split(";")[0] for _, text in listed] == ["no listener speaks TLS, so nobody is passed on"]


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("secret.test", False),
        ("a.secret.test", False),
        ("*.secret.test", False),
        ("example.test", True),
        ("sub.example.test", True),
        ("localhost", True),
    ],
)
def test_routes_of_names_that_are_passed_on(folder: Path, host: str, reachable: bool) -> None:
    route = f'[[route]]\nhost = "{host}"\nbackend = "app"\n'
    text = TLS + CERTIFICATE + route + APP + SECRET + HOST
    if reachable:
        assert not found(folder, text)
        return
    line, message = one(folder, text)
    assert line == 7
    assert message.startswith(
        f'warning: this route is unreachable: clients that ask for "{host}" are passed on undecrypted; '
    )
    plain = '[[listen]]\naddress = "127.0.0.1:8080"\ntls = false\n'
    assert not found(folder, plain + text), "over plain HTTP it is reachable"


def test_an_exact_name_of_a_certificate_is_not_below_the_wildcard(folder: Path) -> None:
    route = '[[route]]\nhost = "{}"\nbackend = "app"\n'
    host = HOST.replace('"secret.test", "*.secret.test"', '"*.test"')
    text = TLS + CERTIFICATE + route.format("example.test") + route.format("*.test") + APP + SECRET + host
    assert not found(folder, text), "the certificate has example.test, so that one is decrypted"
    policy = load(folder, text).policy
    assert policy.passthrough_for("example.test") == ""
    assert policy.passthrough_for("other.test") == "*.test"


def test_a_certificate_of_which_all_names_are_passed_on(folder: Path) -> None:
    write_pem(folder, "secret", authority().issue("secret.test"))
    second = CERTIFICATE.replace("site.", "secret.")
    line, text = one(folder, TLS + CERTIFICATE + second + APP + SECRET + HOST)
    assert (line, text.split(";")[0]) == (
        7,
        "warning: this certificate is never used: clients that ask for its names are passed on undecrypted",
    )
    assert not found(folder, TLS + CERTIFICATE + second + "default = true\n" + APP + SECRET + HOST)
    first = TLS + second + CERTIFICATE + APP + SECRET + HOST
    assert not found(folder, first), "clients that name nobody get the first"
    assert "never used" in one(folder, f"{first}[tls]\nstrict_sni = true\n")[1]
