"""An account that the CA does not take any more: it is found again, or made anew once, and its key is never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support_acme import BASE, NOW, StubCA, account, drive, json_response, new_key, problem
from support_renewer import DAY, World, acme, host, proofs

from lockgate.certs.acme.client import Issuance
from lockgate.certs.acme.jose import AccountKey, ExternalAccount
from lockgate.certs.acme.machine import Account, Fetch
from lockgate.certs.acme.messages import Kind, Response
from lockgate.certs.acme.state import AcmeState

__all__ = ["proofs"]


def issue(ca: StubCA, who: Account):
    return drive(Issuance(who, ["a.test"], new_key(), random=lambda: 0.5), ca)


def known(ca: StubCA, external: ExternalAccount | None = None) -> Account:
    """An account with which there was a certificate."""
    who = account(external, AccountKey(new_key()))
    assert issue(ca, who).chain
    ca.log.clear()
    return who


@pytest.mark.parametrize("shows_ended", [False, True])
def test_a_deactivated_account_is_told_from_other_refusals(shows_ended):
    ca = StubCA(shows_ended=shows_ended)
    who = known(ca)
    ca.ended = {who.url}
    course = issue(ca, who)
    assert course.end.error.kind == Kind.ACCOUNT_ENDED
    assert f"the CA has ended the account {who.url}" in course.error
    assert ("deactivated" in course.error) is True
    assert "'" not in course.error
    assert [path for method, path in ca.log if method == "POST"] == ["/order", "/acct"]


def test_an_account_that_is_refused_for_another_reason_is_not_ended():
    """Not allowed for this name, say: the CA still knows the account, and says what it had to say."""
    ca = StubCA()
    who = known(ca)
    ca.faults = [
        lambda fetch, now: problem("unauthorized", 403, "not your name") if fetch.url == f"{BASE}/order" else None
    ]
    course = issue(ca, who)
    assert course.end.error.kind.endswith(":unauthorized")
    assert "not your name" in course.error
    assert [path for method, path in ca.log if method == "POST"] == ["/order", "/acct"]
    assert len(ca.accounts) == 1


def test_a_fault_while_the_account_is_looked_up_is_no_end():
    ca = StubCA()
    who = known(ca)
    ca.ended = {who.url}
    ca.faults = [lambda fetch, now: problem("rateLimited", 429) if fetch.url == f"{BASE}/acct" else None]
    assert issue(ca, who).end.error.kind.endswith(":rateLimited")


def test_an_account_under_the_name_that_another_ca_gave_it_is_found():
    """As pebble and Boulder do: such a name is malformed."""
    ca = StubCA()
    who = known(ca)
    right, who.url = who.url, "https://other.test/account/0"
    assert issue(ca, who).chain
    assert who.url == right


@pytest.mark.parametrize("kind", [Kind.ACCOUNT_ENDED, Kind.UNREACHABLE])
def test_what_we_conclude_no_ca_can_say(tmp_path, kind):
    """An account that works is not made anew because of a word in an answer, and a CA that answers was reached."""
    world = World(tmp_path)
    answer = json_response({"type": kind, "detail": "no"}, 403, "application/problem+json")
    world.ca.faults = [lambda fetch, now: answer if fetch.url.startswith(f"{BASE}/finalize") else None]
    world.run(DAY)
    assert len(world.ca.accounts) == 1
    assert issue(world.ca, account()).end.error.kind == ""


def deactivate_all(world: World) -> None:
    world.ca.ended = set(world.ca.accounts)


def kept_keys(folder: Path) -> list[Path]:
    return sorted((folder / "acme" / "accounts").glob("*.pem*"))


def test_a_deactivated_account_is_made_anew(tmp_path):
    hosts = tuple(host(name) for name in ("a.test", "b.test", "c.test"))
    world = World(tmp_path, hosts)
    world.run(10)
    [path] = kept_keys(tmp_path)
    old, before = path.read_bytes(), world.version()
    deactivate_all(world)
    world.said.clear()
    world.run(61 * DAY)
    assert world.version() != before
    assert len(world.ca.accounts) == 2, "one for all"
    assert len(kept_keys(tmp_path)) == 2
    [aside] = [one for one in kept_keys(tmp_path) if one != path]
    assert aside.read_bytes() == old
    assert aside.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() != old
    [told] = [line for line in world.said if "has ended the account" in line]
    assert str(aside) in told
    assert f"{BASE}/account/1" in told
    assert not any("next attempt" in line for line in world.said), "no attempt has failed"
    assert json.loads(path.with_suffix(".json").read_text())["url"] == f"{BASE}/account/1"


def test_one_that_was_made_anew_meanwhile_keeps_its_name(tmp_path):
    """Whoever finds out too that the old one is at an end must not note its name beside the new key."""
    world = World(tmp_path, (host("a.test"), host("b.test")))
    world.run(10)
    deactivate_all(world)
    order, ask = world.renewer._courses.order, world.ca.fetch
    others = ["b.test"]

    def fetch(request: Fetch, now: float) -> object:
        answer = ask(request, now)
        if request.url == f"{BASE}/acct" and others:
            order(acme(), [others.pop()], kinds=("http-01",), replaces="")
        return answer

    world.ca.fetch = fetch
    world.said.clear()
    world.ca.log.clear()
    order(acme(), ["a.test"], kinds=("http-01",), replaces="")
    assert [path for method, path in world.ca.log if path == "/order"] == ["/order"] * 4, "each was refused once"
    assert ["did not know" in line for line in world.said] == [False]


def test_with_the_external_account_binding(tmp_path):
    (tmp_path / "eab").write_text("a2tra2tr\n")  # "kkkkkk"
    rules = acme(eab_key_id="kid", eab_key_file=tmp_path / "eab")
    world = World(tmp_path, (host("a.test", rules=rules),), StubCA(mac_keys={"kid": b"kkkkkk"}))
    world.run(10)
    before = world.version()
    deactivate_all(world)
    world.run(61 * DAY)
    assert world.version() != before
    assert len(world.ca.accounts) == 2


def test_when_there_is_no_new_account_the_old_key_stays(tmp_path):
    """The customer is one no more, say."""
    (tmp_path / "eab").write_text("a2tra2tr\n")
    rules = acme(eab_key_id="kid", eab_key_file=tmp_path / "eab")
    world = World(tmp_path, (host("a.test", rules=rules),), StubCA(mac_keys={"kid": b"kkkkkk"}))
    world.run(10)
    [path] = kept_keys(tmp_path)
    old = path.read_bytes()
    deactivate_all(world)
    world.ca.mac_keys = {"kid": b"another"}
    world.run(70 * DAY)
    assert kept_keys(tmp_path) == [path]
    assert path.read_bytes() == old
    assert "has ended the account" in world.said[-1]
    assert "there is no new one: the account was refused with status 403" in world.said[-1]
    assert "the old one stays, valid for" in world.said[-1]


def test_a_ca_that_ends_every_account_gets_one_a_day(tmp_path):
    world = World(tmp_path)
    world.run(10)

    def end(fetch: Fetch, now: float) -> Response | None:
        deactivate_all(world)
        return None

    world.ca.faults = [end]
    world.run(70 * DAY)
    tried = world.ca.log.count(("POST", "/order"))
    assert 5 <= len(world.ca.accounts) <= 12
    assert tried < 120
    assert "was made anew within a day" in world.said[-1]
    assert len(kept_keys(tmp_path)) == len(world.ca.accounts)


def test_a_clock_that_was_ahead_lifts_no_bound(tmp_path):
    world = World(tmp_path)
    world.run(10)
    [path] = kept_keys(tmp_path)
    path.with_name(f"{path.name}.ended-{int(NOW + 4000 * DAY)}").write_bytes(b"")
    deactivate_all(world)
    world.ca.faults = [lambda fetch, now: deactivate_all(world)]
    world.run(70 * DAY)
    assert len(world.ca.accounts) <= 12


def test_a_forgotten_account_is_made_again_with_the_same_key_and_told(tmp_path):
    world = World(tmp_path)
    world.run(10)
    [path] = kept_keys(tmp_path)
    old = path.read_bytes()
    world.ca.accounts.clear()
    world.said.clear()
    world.run(61 * DAY)
    assert any("did not know" in line and f"{BASE}/account/0" in line for line in world.said)
    assert kept_keys(tmp_path) == [path]
    assert path.read_bytes() == old


def test_who_comes_second_takes_the_account_that_is_there(tmp_path):
    """Another process, that shares the folder, has made it anew meanwhile."""
    world = World(tmp_path)
    world.run(10)
    deactivate_all(world)
    others = World(tmp_path, (host("b.test"),), world.ca, wall=world.wall)
    made: list[bool] = []

    def meanwhile(fetch: Fetch, now: float) -> Response | None:
        if fetch.url == f"{BASE}/acct" and not made:
            made.append(True)
            others.run(10)
        return None

    world.ca.faults = [meanwhile]
    world.run(61 * DAY)
    assert made
    assert len(world.ca.accounts) == 2
    assert len(kept_keys(tmp_path)) == 2


def test_what_was_noted_of_another_directory_is_not_used(tmp_path):
    """An account was copied from one CA's file to that of another."""
    state = AcmeState(tmp_path)
    state.prepare(NOW)
    arguments = {"make_key": new_key, "now": NOW, "say": lambda text: None}
    one = state.account(f"{BASE}/dir", "", None, **arguments)
    one.url = f"{BASE}/account/7"
    state.keep_account(one)
    assert state.account(f"{BASE}/dir", "", None, **arguments).url == one.url
    [facts] = (tmp_path / "acme" / "accounts").glob("*.json")
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "directory": "https://other.test/dir"}))
    assert state.account(f"{BASE}/dir", "", None, **arguments).url == ""
