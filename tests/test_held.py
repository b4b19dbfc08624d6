"""Going on with what files said before: each rule and each backend by itself, and what cannot be used is noticed to be so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support_config import GOOD, load, write_pem
from support_mtls import client_pem, clients, pem_of, revocation_list, strangers
from support_tls import Authority, authority

from lockgate.server.check import Prepared, prepare
from lockgate.server.config import Draft
from lockgate.server.problems import ConfigError

TEXT = """
[[host]]
names = ["a.test", "aa.test"]
client_auth = { mode = "required", ca = "clients.pem", crl = "clients.crl" }
[[host]]
names = ["b.test"]
client_auth = { mode = "required", ca = "others.pem" }
[[route]]
host = "b.test"
backend = "secure"
[backend.secure]
servers = ["127.0.0.1:9001"]
tls = { ca = "servers.pem", cert = "ours.pem", key = "ours.key" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", authority().issue("a.test", "aa.test", "b.test"))
    write_pem(tmp_path, "ours", client_pem())
    (tmp_path / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))
    (tmp_path / "clients.crl").write_bytes(revocation_list() + revocation_list(of_root=True))
    (tmp_path / "others.pem").write_bytes(strangers().pem)
    (tmp_path / "servers.pem").write_bytes(Authority("servers").pem)
    return tmp_path


def again(before: Prepared, *, hold: bool = True) -> Prepared:
    draft = Draft(before.config, [], before.written, lambda place: False)
    return prepare(draft, before=before, hold=hold)


def news(before: Prepared, after: Prepared) -> set[str]:
    """The files that are others than before, as far as is said."""
    return {path.name for path, stamp in after.stamps.items() if before.stamps[path] != stamp}


def test_one_that_is_broken_is_as_before_and_all_others_are_new(folder: Path) -> None:
    before = load(folder, GOOD + TEXT)
    (folder / "servers.pem").write_bytes(b"broken")
    (folder / "clients.crl").write_bytes(revocation_list(1) + revocation_list(of_root=True))
    with pytest.raises(ConfigError):
        again(before, hold=False)
    after = again(before)
    assert news(before, after) == {"clients.crl"}
    assert after.authorities == before.authorities
    rules = after.rules
    assert rules["a.test"] is rules["aa.test"] is not before.rules["a.test"]
    assert rules["b.test"] is not before.rules["b.test"], "nothing is wrong with it, so it is read again"
    (warning,) = after.warnings
    assert warning.warning
    assert "servers.pem" in warning.message


@pytest.mark.parametrize(
    ("broken", "held"),
    [
        ("clients.pem", "a.test"),
        ("clients.crl", "a.test"),
        ("others.pem", "b.test"),
    ],
)
def test_a_rule_is_new_or_as_before_and_never_half(folder: Path, broken: str, held: str) -> None:
    before = load(folder, GOOD + TEXT)
    for name in ("clients.pem", "clients.crl", "others.pem"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(b"broken" if name == broken else content + b"\n")
    after = again(before)
    for name in ("a.test", "b.test"):
        assert (after.rules[name] is before.rules[name]) is (name == held)
    assert news(before, after) == ({"others.pem"} if held == "a.test" else {"clients.pem", "clients.crl"})


@pytest.mark.parametrize("broken", ["ours.pem", "ours.key"])
def test_what_a_backend_is_shown(folder: Path, broken: str) -> None:
    before = load(folder, GOOD + TEXT)
    write_pem(folder, "ours", client_pem())
    (folder / "servers.pem").write_bytes(Authority("new servers").pem)
    (folder / broken).write_bytes(b"broken")
    after = again(before)
    assert after.pairs == before.pairs
    assert after.authorities != before.authorities
    assert news(before, after) == {"servers.pem"}


def test_there_may_be_nothing_new(folder: Path) -> None:
    before = load(folder, GOOD + TEXT)
    (folder / "servers.pem").unlink()
    assert news(before, again(before)) == set()
    assert news(before, again(again(before))) == set()
    (folder / "servers.pem").write_bytes(Authority("servers").pem)
    assert news(before, again(before)) == {"servers.pem"}


def test_what_was_not_there_before_is_a_mistake(folder: Path) -> None:
    before = load(folder, GOOD + TEXT)
    (folder / "servers.pem").write_bytes(b"broken")
    for nothing in (replace(before, authorities={}), None):
        draft = Draft(before.config, [], before.written, lambda place: False)
        with pytest.raises(ConfigError):
            prepare(draft, before=nothing, hold=True)


def test_no_key_is_shown(folder: Path) -> None:
    text = repr(load(folder, GOOD + TEXT))
    assert "PRIVATE" not in text
    assert "BEGIN" not in text
