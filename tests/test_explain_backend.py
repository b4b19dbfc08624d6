"""What `lockgate explain` says of TLS to a backend: all that decides whether a server is spoken to, key by key."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from support_config import GOOD, load, write_pem
from support_explain import statements
from support_tls import authority, client_pem, server_pem
from test_explain import ask

from lockgate.server.explain import make_case

PIN = "sha256/" + base64.b64encode(bytes(32)).decode()
OTHER = "sha256/" + base64.b64encode(bytes(31) + b"1").decode()
VERSION = ("a server that speaks nothing from TLSv1.2 on is refused", 'min_version = "TLSv1.2"', 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    write_pem(tmp_path, "us", client_pem())
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


def said(folder: Path, *lines: str) -> list[tuple[str, str, int]]:
    """What is said, by which rule, and in which line after `[backend.app.tls]`."""
    text = GOOD + "[backend.app.tls]\n" + "".join(f"{line}\n" for line in lines)
    begin = GOOD.count("\n") + 1
    found = statements(make_case(load(folder, text), ask("localhost")), "encryption")
    return [(text, because, line and line - begin) for text, because, line in found]


def test_all_that_a_server_has_to_be(folder: Path) -> None:
    lines = ('ca = "ca.pem"', f'pins = ["{PIN}"]', 'cert = "us.pem"', 'key = "us.key"', 'min_version = "TLSv1.3"')
    verified, *others = said(folder, *lines)
    assert verified[0].endswith("has to be for the host in servers, from the authorities in " + str(folder / "ca.pem"))
    assert others == [
        (
            "the key of its certificate, or of an issuer in its chain, has to be the pinned one",
            "pins; without, nothing is sent and the client gets 502",
            2,
        ),
        (f"servers that ask for a certificate are shown the one in {folder / 'us.pem'}", "cert", 3),
        ("a server that speaks nothing from TLSv1.3 on is refused", 'min_version = "TLSv1.3"', 5),
    ]


def test_without_any_of_it(folder: Path) -> None:
    assert said(folder, 'ca = "ca.pem"')[1:] == [VERSION]


def test_pins_are_a_verification_of_their_own(folder: Path) -> None:
    """It was said that whoever is in between can read and change everything."""
    assert said(folder, "insecure = true", f'pins = ["{PIN}", "{OTHER}"]') == [
        ("TLS towards the backend, verified by nothing but the key of its certificate", "insecure = true", 1),
        (
            "its certificate's key has to be one of 2 pinned ones",
            "pins; without, nothing is sent and the client gets 502",
            2,
        ),
        VERSION,
    ]
    assert "can read and change everything" in said(folder, "insecure = true")[0][0]
