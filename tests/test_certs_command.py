"""`lockgate certs`: what is listed, in which order, and that nothing of a certificate can upset a terminal."""

from __future__ import annotations

import datetime
import json
import os
from argparse import Namespace
from pathlib import Path

import pytest
from support_certs import NOW, rsa_key, sign, write

from lockgate.certs.acme import renewal
from lockgate.certs.acme.messages import AcmeError
from lockgate.certs.acme.state import AcmeState
from lockgate.server import cli
from lockgate.server.certs_command import run

DAY = datetime.timedelta(days=1)
TEXT = """
[[listen]]
address = "127.0.0.1:8443"
[[listen]]
address = "127.0.0.1:8080"
tls = false
[[certificate]]
cert = "long.pem"
key = "long.key"
default = true
[[certificate]]
directory = "certs"
[[route]]
backend = "app"
[[route]]
host = "a.test"
backend = "app"
[[route]]
host = "x.a.test"
backend = "app"
[[route]]
host = "nobody.test"
backend = "app"
[backend.app]
servers = ["127.0.0.1:9000"]
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "lockgate"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    issuer = sign("An Issuer", ca=True)
    for path, last, names in (
        ("long", 80, ["long.test"]),
        ("certs/a", 10, ["a.test", "*.a.test", "third.test"]),
        ("certs/b", 50, ["b.test"]),
        ("certs/b-old", 20, ["b.test"]),
    ):
        signed = sign(path, issuer, names=names, first=-80, last=last, key=rsa_key() if path == "long" else None)
        write(tmp_path, f"{path}.pem", signed.pem)
        write(tmp_path, f"{path}.key", signed.key_pem(b"secret"))  # passwords are not needed
    (tmp_path / "lockgate.toml").write_text(TEXT)
    return tmp_path


def listed(
    folder: Path, capsys: pytest.CaptureFixture[str], *, code: int = 0, now: datetime.datetime = NOW
) -> list[dict]:
    assert run(Namespace(file=folder / "lockgate.toml", json=True), now) == code
    return json.loads(capsys.readouterr().out)


def test_table(folder, capsys):
    assert run(Namespace(file=folder / "lockgate.toml", json=False), NOW) == 0
    output = capsys.readouterr()
    lines = [line.split("  ") for line in output.out.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    https = "127.0.0.1:8443"
    assert rows == [
        ["NAMES", "ISSUER", "KEY", "DAYS", "USED BY", "RENEWAL", "FILE"],
        [
            "a.test, *.a.test +1",
            "An Issuer",
            "ECDSA P-256",
            "10",
            f"{https}: a.test, x.a.test",
            "-",
            f"{folder}/certs/a.pem",
        ],
        ["b.test", "An Issuer", "ECDSA P-256", "20", "- (others are better)", "-", f"{folder}/certs/b-old.pem"],
        ["b.test", "An Issuer", "ECDSA P-256", "50", f"{https}: no route of its own", "-", f"{folder}/certs/b.pem"],
        ["long.test", "An Issuer", "RSA", "80", f"{https}: default, nobody.test", "-", f"{folder}/long.pem"],
    ]
    (warning,) = output.err.splitlines()
    assert warning.startswith(
        f"warning: certificate {folder}/certs/a.pem for 'a.test', '*.a.test', 'third.test' expires"
    )


def test_of_two_files_for_a_name_the_first_is_used_as_in_serve(folder, capsys):
    """Though the other one is valid longer. With another kind of key both are used."""
    issuer = sign("An Issuer", ca=True)
    text = TEXT
    for path, last, key in (("first", 9, None), ("second", 90, None), ("rsa", 50, rsa_key())):
        signed = sign(path, issuer, names=["a.test"], first=-80, last=last, key=key)
        write(folder, f"{path}.pem", signed.pem)
        write(folder, f"{path}.key", signed.key_pem())
        text += f'[[certificate]]\ncert = "{path}.pem"\nkey = "{path}.key"\n'
    (folder / "lockgate.toml").write_text(text)
    rows = {Path(row["file"]).name: row for row in listed(folder, capsys)}
    assert [rows[name]["used"] for name in ("first.pem", "second.pem", "rsa.pem")] == [True, False, True]
    assert rows["first.pem"]["hosts"] == rows["rsa.pem"]["hosts"] == ["a.test"]
    assert run(Namespace(file=folder / "lockgate.toml", json=False), NOW) == 0
    assert f"warning: certificate {folder}/first.pem for 'a.test' expires in 9 days" in capsys.readouterr().err


def test_of_several_in_a_file_the_one_that_is_served_is_listed(folder, capsys):
    """That of the key, and of two of the same key the valid one: as when a renewed one was added to the file."""
    old = sign("old", names=["long.test", "old.test"], first=-90, last=-1)
    new = sign("new", names=["long.test"], last=50, key=old.key)
    stranger = sign("stranger", names=["stranger.test"])
    write(folder, "long.pem", stranger.pem, old.pem, new.pem)
    write(folder, "long.key", new.key_pem())
    (found,) = [one for one in listed(folder, capsys) if one["file"].endswith("long.pem")]
    assert (found["names"], found["days_left"]) == (["long.test"], 50)


def test_names_that_are_passed_on_need_no_certificate(folder, capsys):
    """As `check` says, and `explain`: nobody is shown it, so nobody has to renew it, or be warned."""
    passed = """
[[host]]
names = ["b.test", "x.a.test", "*.b.test"]
passthrough = "raw"
[backend.raw]
servers = ["127.0.0.1:9443"]
"""
    issuer = sign("An Issuer", ca=True)
    signed = sign("certs/c", issuer, names=["b.test", "*.b.test"], first=-80, last=9)
    write(folder, "certs/c.pem", signed.pem)
    write(folder, "certs/c.key", signed.key_pem())
    (folder / "lockgate.toml").write_text(TEXT + passed)
    rows = {Path(row["file"]).stem: row for row in listed(folder, capsys)}
    assert {name for name, row in rows.items() if row["used"]} == {"a", "long"}
    assert [rows[name]["hosts"] for name in ("a", "long")] == [["a.test"], ["nobody.test"]]
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW)
    output = capsys.readouterr()
    assert "  - (passed on)  " in next(line for line in output.out.splitlines() if line.endswith("/c.pem"))
    assert "certs/c.pem" not in output.err


@pytest.mark.parametrize(
    ("strict", "says", "hosts"),
    [
        ("", "who names nobody, a.test +1", ["a.test", "x.a.test"]),
        ("strict_sni = false", "who names nobody, a.test +2", ["a.test", "x.a.test", "nobody.test"]),
        ("strict_sni = true", "a.test, x.a.test", ["a.test", "x.a.test"]),
    ],
)
def test_the_first_is_for_clients_that_name_nobody(folder, capsys, strict, says, hosts):
    """Where several are there and none is the default."""
    table = '[[certificate]]\ncert = "certs/a.pem"\nkey = "certs/a.key"\n[[certificate]]\ncert = "long.pem"'
    text = TEXT.replace('[[certificate]]\ncert = "long.pem"', table).replace("default = true\n", "")
    (folder / "lockgate.toml").write_text(f"{text}\n[tls]\n{strict}\n")
    first = next(row for row in listed(folder, capsys) if row["file"].endswith("/a.pem"))
    assert (first["used"], first["default"], first["hosts"]) == (True, False, hosts)
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW)
    assert f"  127.0.0.1:8443: {says}  " in capsys.readouterr().out


def test_json(folder, capsys):
    first, old, *_, last = listed(folder, capsys)
    assert first == {
        "state": "issued",
        "names": ["a.test", "*.a.test", "third.test"],
        "issuer": "An Issuer",
        "key": "ECDSA P-256",
        "not_before": (NOW - 80 * DAY).isoformat(),
        "not_after": (NOW + 10 * DAY).isoformat(),
        "days_left": 10,
        "used": True,
        "listeners": ["127.0.0.1:8443"],
        "hosts": ["a.test", "x.a.test"],
        "default": False,
        "file": f"{folder}/certs/a.pem",
        "key_file": f"{folder}/certs/a.key",
        "renewal": None,
        "renewal_fault": None,
    }
    assert (old["used"], old["listeners"]) == (False, [])
    assert last["default"]


def test_expired_and_not_yet_valid(folder, capsys):
    assert [one["days_left"] for one in listed(folder, capsys, now=NOW + 15 * DAY + DAY / 2)] == [-6, 4, 34, 64]
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW - 100 * DAY)
    assert "(not valid yet)" in capsys.readouterr().out


ACME = """
[[host]]
names = ["auto.test", "second.auto.test"]
acme = { directory = "https://ca.test/dir" }
[[host]]
names = ["*.shops.test"]
acme = { directory = "https://ca.test/dir", on_demand = true, allow = ["a.shops.test"] }
"""


def test_issued_by_acme(folder, capsys, state):
    (folder / "lockgate.toml").write_text(TEXT + ACME)
    signed = sign("auto.test", names=["auto.test"], last=30)
    write(state / "acme" / "certificates" / "auto.test", "pair.pem", signed.key_pem(), signed.pem)
    (auto,) = [one for one in listed(folder, capsys) if one["names"] == ["auto.test"]]
    assert (auto["renewal"], auto["renewal_fault"]) == (None, None)
    due = NOW + 7 * DAY
    renewal = {"renew_at": due.timestamp(), "retry_at": 0, "fault": "the CA is out"}
    write(state / "acme" / "certificates" / "auto.test", "renewal.json", json.dumps(renewal).encode())
    (auto,) = [one for one in listed(folder, capsys) if one["names"] == ["auto.test"]]
    assert (auto["renewal"], auto["renewal_fault"]) == (due.isoformat(), "the CA is out")
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW)
    assert "2026-06-08 00:00 (failed)" in capsys.readouterr().out


def by_state(rows: list[dict]) -> dict[str, list[list[str]]]:
    """The names of certificates in each state."""
    found: dict[str, list[list[str]]] = {}
    for row in rows:
        found.setdefault(row["state"], []).append(row["names"])
    return found


def test_what_acme_has_not_got_yet_is_listed_first(folder, capsys):
    """Without a state folder: nothing was ever tried."""
    (folder / "lockgate.toml").write_text(TEXT + ACME)
    rows = listed(folder, capsys)
    assert [row["state"] for row in rows] == ["not issued yet", "on demand", *4 * ["issued"]]
    first = rows[0]
    assert first["names"] == ["auto.test", "second.auto.test"]
    assert {first[key] for key in ("file", "issuer", "days_left", "renewal", "renewal_fault")} == {None}
    assert first.keys() == rows[-1].keys()
    assert not first["used"]
    # Its clients are refused, and not shown another one.
    assert not any(name in row["hosts"] for row in rows for name in first["names"])
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["auto.test,", "second.auto.test", "-", "-", "not", "issued", "yet", "-", "-", "-"]
    assert lines[2] == ["*.shops.test", "-", "-", "on", "demand", "-", "-", "-"]


def test_attempts_that_have_failed(folder, capsys, state):
    """What the renewer itself writes: before an attempt, and after one that has failed."""
    (folder / "lockgate.toml").write_text(TEXT + ACME)
    there = AcmeState(state)
    there.prepare(NOW.timestamp())
    for name in ("auto.test", "a.shops.test", "stranger.test"):
        with there.lock(name):
            pass
    assert by_state(listed(folder, capsys))["not issued yet"] == [["auto.test", "second.auto.test"], ["a.shops.test"]]
    begun = renewal.begun(renewal.Schedule(), NOW.timestamp())
    there.keep_schedule("auto.test", begun)
    assert by_state(listed(folder, capsys))["asked for"] == [["auto.test", "second.auto.test"]]
    error = AcmeError("the CA says: no \x1b[31m address")
    failed = renewal.after_failure(renewal.Schedule(), error, NOW.timestamp(), lambda: 0.0)
    there.keep_schedule("auto.test", failed)
    (auto,) = [row for row in listed(folder, capsys) if row["state"] == "failed"]
    assert (auto["names"], auto["renewal_fault"]) == (["auto.test", "second.auto.test"], str(error))
    assert auto["renewal"] == (NOW + 2 * datetime.timedelta(minutes=1)).isoformat()
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW)
    output = capsys.readouterr()
    assert "not issued (failed)" in output.out
    assert "2026-06-01 00:02 (failed)" in output.out
    fault = "no \\x1b[31m address; the next one is on 2026-06-01 00:02 UTC"
    assert (
        f"warning: certificate for auto.test, second.auto.test: the last attempt to get it failed: the CA says: {fault}"
        in (output.err.splitlines())
    )
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW + DAY)
    assert "address; the next one is due\n" in capsys.readouterr().err


def test_a_certificate_that_came_ends_the_wait(folder, capsys, state):
    (folder / "lockgate.toml").write_text(TEXT + ACME)
    for name in ("auto.test", "a.shops.test"):
        signed = sign(name, names=[name], last=30)
        write(state / "acme" / "certificates" / name, "pair.pem", signed.key_pem(), signed.pem)
    assert by_state(listed(folder, capsys)).keys() == {"issued"}
    write(state / "acme" / "certificates" / "auto.test", "pair.pem", b"half a fi")
    rows = listed(folder, capsys)
    assert by_state(rows)["cannot be used"] == [["auto.test", "second.auto.test"]]


def test_a_file_that_covers_a_host_does_not_hide_that_its_own_is_missing(folder, capsys):
    """A wildcard is not used for it: the exact name goes first, and there is nothing for that."""
    (folder / "lockgate.toml").write_text(TEXT + ACME.replace("second.auto.test", "y.a.test"))
    rows = listed(folder, capsys)
    assert rows[0]["names"] == ["auto.test", "y.a.test"]
    assert not any("y.a.test" in row["hosts"] for row in rows)


def test_state_folder_of_somebody_else(folder, capsys, monkeypatch, state):
    """As if it were one: root, who runs the tests in CI, may read everything."""
    (folder / "lockgate.toml").write_text(TEXT + ACME)
    AcmeState(state).prepare(NOW.timestamp())

    def refusing(real):
        def call(path=".", *arguments, **more):
            if str(path).startswith(str(state)):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *arguments, **more)

        return call

    with monkeypatch.context() as patch:
        for name in ("stat", "scandir", "open", "listdir"):
            patch.setattr(os, name, refusing(getattr(os, name)))
        assert run(Namespace(file=folder / "lockgate.toml", json=True), NOW) == 0
    output = capsys.readouterr()
    assert by_state(json.loads(output.out))["not known"] == [["auto.test", "second.auto.test"]]
    assert "this folder may not be read" in output.err


def test_what_was_issued_for_others_is_not_of_this_configuration(folder, capsys, state):
    """The state folder may be shared, and a host may be gone: somebody would be warned of its end for ever."""
    (folder / "lockgate.toml").write_text(TEXT + ACME)
    for name in ("auto.test", "second.auto.test", "gone.test", "a.shops.test", "b.shops.test"):
        signed = sign(name, names=[name], last=30)
        write(state / "acme" / "certificates" / name, "pair.pem", signed.key_pem(), signed.pem)
    there = [name for one in listed(folder, capsys) for name in one["names"]]
    assert "auto.test" in there
    assert "a.shops.test" in there
    assert not {"second.auto.test", "gone.test", "b.shops.test"} & set(there)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b'{"renew_at": "x"}', b'{"renew_at": 1e300}', b"\xff"])
def test_renewal_file_of_another_kind(folder, capsys, state, content):
    (folder / "lockgate.toml").write_text(TEXT + ACME)
    signed = sign("auto.test", names=["auto.test"], last=30)
    write(state / "acme" / "certificates" / "auto.test", "pair.pem", signed.key_pem(), signed.pem)
    write(state / "acme" / "certificates" / "auto.test", "renewal.json", content)
    (auto,) = [one for one in listed(folder, capsys) if one["names"] == ["auto.test"]]
    assert auto["renewal"] is None


def test_faults_are_told_and_the_rest_is_listed(folder, capsys):
    write(folder, "certs/bad.pem", b"")
    assert len(listed(folder, capsys)) == 4  # a warning, as for `check`
    (folder / "long.pem").unlink()
    assert run(Namespace(file=folder / "lockgate.toml", json=True), NOW) == 2
    output = capsys.readouterr()
    assert len(json.loads(output.out)) == 3
    assert "lockgate.toml:8: " in output.err
    assert "this certificate file does not exist" in output.err
    assert f"{folder}/certs/bad.pem: warning: is not a PEM file" in output.err


def test_mistakes_elsewhere_do_not_hide_certificates(folder, capsys):
    (folder / "lockgate.toml").write_text(TEXT + "balance = 3\n")
    assert len(listed(folder, capsys, code=2)) == 4


def test_hostile_names_are_printable(folder, capsys):
    evil = "\x1b]0;x\x07\nfake line \u202e"
    signed = sign("evil", sign(evil, ca=True), names=["evil.test"])
    write(folder, "certs/evil.pem", signed.pem)
    write(folder, "certs/evil.key", signed.key_pem())
    run(Namespace(file=folder / "lockgate.toml", json=False), NOW)
    output = capsys.readouterr()
    assert all(line.isprintable() for line in (output.out + output.err).split("\n"))
    assert "\\x1b]0;x" in output.out
    assert listed(folder, capsys)[-1]["issuer"] == evil


def test_no_certificates(tmp_path, capsys):
    (tmp_path / "lockgate.toml").write_text('[[listen]]\naddress = "127.0.0.1:80"\ntls = false\n')
    assert run(Namespace(file=tmp_path / "lockgate.toml", json=False), NOW) == 0
    assert capsys.readouterr().out == "no certificates\n"


def test_from_the_command_line(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert cli.main(["certs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    assert cli.main(["certs", "absent.toml"]) == 2
    assert "absent.toml: this file does not exist" in capsys.readouterr().err
