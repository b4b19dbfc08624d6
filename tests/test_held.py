"""Going on with what files said before: each rule and each backend by itself, and what cannot be used is noticed to be so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support_config import GOOD, load, write_pem
from support_mtls import client_pem, clients, pem_of, revocation_list, strangers
from support_tls import Authority, authority

from lockgate.server import config
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


# -- what has nothing to do with them --------------------------------------------------------------------------------

FOLDER = GOOD.replace('cert = "site.pem"\nkey = "site.key"', 'directory = "many"')
ROUTE = '[[route]]\nhost = "a.test"\nbackend = "app"\n'
ACME = """
[[host]]
names = ["acme.test"]
acme = { directory = "https://ca.test/", ca = "acme.pem", eab_key_id = "us", eab_key_file = "eab.key" }
"""


def revoke(folder: Path) -> None:
    (folder / "clients.crl").write_bytes(revocation_list(1) + revocation_list(of_root=True))


def comes_in(before: Prepared, fault: str, *, at_once: bool = False) -> Prepared:
    """A revocation list does, whatever else is wrong, and that is a warning. `at_once`: it is no mistake without `hold`."""
    if not at_once:
        with pytest.raises(ConfigError):
            again(before, hold=False)
    after = again(before, hold=not at_once)
    assert news(before, after) == {"clients.crl"}
    assert after.rules["a.test"] is not before.rules["a.test"]
    assert [rule is None for rule in after.rules.values()] == [rule is None for rule in before.rules.values()]
    asking = {name for one in after.policy.identities if one.client_auth is not None for name in one.names}
    assert asking >= {"a.test", "aa.test", "b.test"}
    new = [str(warning) for warning in after.warnings if warning not in before.warnings]
    assert any(fault in text for text in new), new
    return after


def test_a_certificate_that_has_expired(folder: Path) -> None:
    before = load(folder, GOOD + TEXT)
    pem = authority().issue("a.test", "aa.test", "b.test", last_day=-1, first_day=-2)
    write_pem(folder, "site", pem)
    revoke(folder)
    old = before.loaded[0]
    expired = old._replace(certificate=replace(old.certificate, not_after=old.certificate.not_before))
    after = comes_in(replace(before, loaded=(expired,)), "expired")
    assert after.loaded == (expired,)


def many(folder: Path) -> Prepared:
    (folder / "many").mkdir()
    write_pem(folder / "many", "one", authority().issue("a.test"))
    write_pem(folder / "many", "two", authority().issue("aa.test", "b.test"))
    write_pem(folder / "many", "three", authority().issue("c.test"))
    return load(folder, FOLDER + TEXT + ROUTE)


def test_a_folder_that_is_gone(folder: Path) -> None:
    before = many(folder)
    (folder / "many").rename(folder / "elsewhere")
    revoke(folder)
    after = comes_in(before, "this folder does not exist", at_once=True)
    assert [entry.names for one in after.folders for entry in one.certificates.entries] == [
        ("a.test",),
        ("c.test",),
        ("aa.test", "b.test"),
    ]


@pytest.mark.parametrize("fault", ["this route is unreachable", 'no certificate is for "a.test"'])
def test_a_certificate_that_was_removed_from_a_folder(folder: Path, fault: str) -> None:
    before = many(folder)
    (folder / "many" / "one.pem").unlink()
    revoke(folder)
    comes_in(before, fault)


def test_a_certificate_that_was_renewed_without_a_name(folder: Path) -> None:
    before = load(folder, GOOD + TEXT + ROUTE + "[tls]\nstrict_sni = true\n")
    write_pem(folder, "site", authority().issue("aa.test", "b.test"))
    revoke(folder)
    comes_in(before, "this route is unreachable")


@pytest.mark.parametrize(
    ("broken", "fault"),
    [("eab.key", "has no key"), ("acme.pem", "is not a PEM file"), ("state/acme", "is not a folder")],
)
def test_what_certificates_are_got_with(folder: Path, broken: str, fault: str) -> None:
    (folder / "eab.key").write_bytes(b"c2VjcmV0")
    (folder / "acme.pem").write_bytes(Authority("acme").pem)
    (folder / "state").mkdir()
    before = load(folder, 'state = "state"\n' + GOOD + TEXT + ACME)
    (folder / broken).write_bytes(b"!")
    revoke(folder)
    comes_in(before, fault)


@pytest.mark.parametrize("log", ['access_log = "logs/access.log"\n', 'tls.key_log = "logs/keys"\n'])
def test_the_folder_of_a_log(folder: Path, log: str) -> None:
    (folder / "logs").mkdir()
    before = load(folder, log + GOOD + TEXT)
    (folder / "logs").rename(folder / "elsewhere")
    revoke(folder)
    comes_in(before, "does not exist")


def test_another_configuration_has_to_be_right(folder: Path) -> None:
    before = load(folder, GOOD + TEXT)
    (folder / "clients.crl").write_bytes(b"broken")
    draft = config.read_file(folder / "lockgate.toml")
    with pytest.raises(ConfigError):
        prepare(draft, before=before, hold=True)


def test_no_key_is_shown(folder: Path) -> None:
    text = repr(load(folder, GOOD + TEXT))
    assert "PRIVATE" not in text
    assert "BEGIN" not in text
