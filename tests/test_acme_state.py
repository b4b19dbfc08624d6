"""The state folder: what is written survives, what is damaged or not ours to read does no harm, names do not lead out of it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_acme import BASE, NOW, StubCA, new_key
from support_tls import authority

from lockgate.certs import files as certificate_files
from lockgate.certs import state_files as files
from lockgate.certs.acme.challenges import Challenge
from lockgate.certs.acme.jose import ExternalAccount
from lockgate.certs.acme.machine import Account
from lockgate.certs.acme.renewal import Schedule
from lockgate.certs.acme.state import MAX_WANTED, AcmeState
from lockgate.certs.issuing import private_pem
from lockgate.certs.state_files import StateError
from lockgate.server.waiting_room import WaitingRoom

TOKEN = "t0ken-" + "A" * 20


@pytest.fixture
def state(tmp_path: Path) -> AcmeState:
    made = AcmeState(tmp_path / "state")
    made.prepare(NOW)
    return made


def keep(state: AcmeState, *names: str) -> bytes:
    """Store a certificate; its chain."""
    pem = authority().issue(*names)
    with state.lock(names[0]):
        pass
    state.keep_certificate(names[0], pem.chain, pem.key)
    return pem.chain


def account(
    state: AcmeState,
    *,
    email: str = "a@b.test",
    external: ExternalAccount | None = None,
    notes: list[str] | None = None,
) -> Account:
    say = [].append if notes is None else notes.append
    return state.account(f"{BASE}/dir", email, external, make_key=new_key, now=NOW, say=say)


def modes(folder: Path) -> set[str]:
    return {oct(stat.S_IMODE(path.lstat().st_mode)) for path in folder.rglob("*")}


def test_a_certificate_that_is_replaced_while_it_is_read_is_the_old_one_or_the_new_one(state, monkeypatch):
    """Not half of both, so that a worker that starts just then has none."""
    old = keep(state, "a.test")
    read = certificate_files.read_regular

    def and_then_another(path, most):
        data = read(path, most)
        keep(state, "a.test")
        return data

    monkeypatch.setattr(certificate_files, "read_regular", and_then_another)
    first = AcmeState(state.state).certificate(["a.test"])
    assert first is not None
    assert first.certificate.chain_pem == old
    monkeypatch.undo()
    second = state.certificate(["a.test"])
    assert second is not None
    assert second.certificate.chain_pem != old
    assert second.version != first.version


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_whoever_waits_is_let_go_when_the_folder_cannot_be_read_any_more(state, monkeypatch, error):
    """The one thread that all of them have must not end of it: nobody would be answered any more."""
    room = WaitingRoom(state, 10.0, run=lambda work: None)
    answer = room.wait("a.test", lambda: None)
    assert isinstance(answer, Future)
    look = os.stat

    def fail(path, **more):
        if "wanted" in str(path):
            raise OSError(error, "no")
        return look(path, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", fail)
        assert not room.look()
    assert answer.result(timeout=0) is None


def test_folders_and_files_are_ours_alone(state):
    account(state)
    keep(state, "a.test")
    state.keep_schedule("a.test", Schedule())
    state.want("b.test")
    state.publish(Challenge("http-01", "a.test", TOKEN, f"{TOKEN}.x"), new_key, NOW)
    for path in [state.state, *state.state.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_an_open_folder_is_closed_again(tmp_path):
    (tmp_path / "acme" / "accounts").mkdir(parents=True, mode=0o755)
    AcmeState(tmp_path).prepare(NOW)
    assert "0o755" not in modes(tmp_path)


def test_an_account_is_made_once(state):
    first = account(state)
    first.url = f"{BASE}/account/7"
    state.keep_account(first)
    again = account(state)
    assert again.key.thumbprint == first.key.thumbprint
    assert again.url == f"{BASE}/account/7"


def test_each_mail_address_and_binding_has_its_own_account(state):
    keys = {account(state).key.thumbprint, account(state, email="x@y.test").key.thumbprint}
    keys.add(account(state, external=ExternalAccount("kid", b"k")).key.thumbprint)
    assert len(keys) == 3


def test_a_damaged_account_key_is_set_aside(state):
    first = account(state)
    first.url = f"{BASE}/account/7"
    state.keep_account(first)
    path = next((state.folder / "accounts").glob("*.pem"))
    path.write_bytes(b"-----BEGIN damaged")
    notes: list[str] = []
    second = account(state, notes=notes)
    assert second.key.thumbprint != first.key.thumbprint
    assert second.url == ""
    assert "this account key is damaged" in notes[0]
    assert [p.read_bytes() for p in path.parent.glob("*unusable*")] == [b"-----BEGIN damaged"]


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"url": 5}', b'{"url": "http://x"}', b"\xff", b"[" * 100_000])
def test_a_damaged_account_file_is_asked_for_again(state, text):
    known = account(state)
    known.url = f"{BASE}/account/7"
    state.keep_account(known)
    next((state.folder / "accounts").glob("*.json")).write_bytes(text)
    assert account(state).url == ""


def test_two_threads_make_one_account_key(state):
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(account(state).key.thumbprint)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_lock_is_held_by_one(state):
    with state.lock("a.test") as ours, state.lock("a.test") as theirs, state.lock("b.test") as other:
        assert (ours, theirs, other) == (True, False, True)
    with state.lock("a.test") as again:
        assert again


def test_a_certificate_is_found_and_read_once(state):
    keep(state, "a.test", "b.test")
    found = state.certificate(["a.test", "b.test"])
    assert found is not None
    assert found.certificate.names == ("a.test", "b.test")
    assert state.certificate(["a.test"]) is found
    assert state.certificate(["b.test"]) is None
    keep(state, "a.test", "b.test")
    replaced = state.certificate(["a.test"])
    assert replaced is not None
    assert replaced.version != found.version


def test_a_damaged_certificate_leaves_the_old_one_in_use(state):
    keep(state, "a.test")
    found = state.certificate(["a.test"])
    state.pair_path("a.test").write_bytes(b"garbage")
    assert state.certificate(["a.test"]) is found
    assert AcmeState(state.state).certificate(["a.test"]) is None


def test_a_damaged_schedule_is_none(state):
    with state.lock("a.test"):
        pass
    state.keep_schedule("a.test", Schedule(renew_at=5))
    assert state.schedule("a.test") == Schedule(renew_at=5)
    (state.certificate_folder("a.test") / "renewal.json").write_bytes(b"\0")
    assert state.schedule("a.test") is None


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01"])
def test_a_challenge_is_there_until_it_is_withdrawn(state, kind):
    challenge = Challenge(kind, "a.test", TOKEN, f"{TOKEN}.proof")
    state.publish(challenge, new_key, NOW)
    reader = AcmeState(state.state)
    if kind == "http-01":
        assert reader.http_01_answer(TOKEN) == f"{TOKEN}.proof".encode()
    else:
        found = reader.tls_alpn_01_certificate("a.test")
        assert found is not None
        assert found[0].startswith(b"-----BEGIN CERTIFICATE-----")
        assert found[1].startswith(b"-----BEGIN PRIVATE KEY-----")
    state.withdraw(challenge)
    state.withdraw(challenge)
    assert reader.http_01_answer(TOKEN) is None
    assert reader.tls_alpn_01_certificate("a.test") is None


EVIL = [
    "",
    "..",
    "../accounts/lock",
    "/etc/passwd",
    "a/b",
    "a\0b",
    "..%2f..%2fetc",
    "x" * 4000,
    "A.TEST",
    "a.test/",
    ".new-x",
]


@pytest.mark.parametrize("text", EVIL)
def test_no_path_from_outside(state, text):
    before = sorted(state.state.rglob("*"))
    assert state.http_01_answer(text) is None
    assert state.tls_alpn_01_certificate(text) is None
    assert state.certificate([text]) is None
    assert state.want(text) is False
    assert state.is_wanted(text) is False
    for verb in (state.pair_path, state.certificate_folder, state.answer):
        with pytest.raises(ValueError, match="not a host name"):
            verb(text)
    assert sorted(state.state.rglob("*")) == before


@given(st.text(max_size=300))
def test_no_text_is_a_way_out(text):
    nowhere = AcmeState(Path("/nonexistent/lockgate"))
    assert nowhere.http_01_answer(text) is None
    assert nowhere.tls_alpn_01_certificate(text) is None
    assert nowhere.certificate([text]) is None
    assert nowhere.want(text) is False


def test_links_are_not_followed(state, tmp_path):
    (tmp_path / "secret").write_bytes(f"{TOKEN}.secret".encode())
    (state.folder / "challenges" / "http-01" / TOKEN).symlink_to(tmp_path / "secret")
    assert state.http_01_answer(TOKEN) is None


def test_a_pipe_in_the_place_of_a_file_blocks_nobody(state):
    os.mkfifo(state.folder / "challenges" / "http-01" / TOKEN)
    assert state.http_01_answer(TOKEN) is None


def test_wanted_names_are_bounded(state):
    for number in range(MAX_WANTED):
        assert state.want(f"n{number}.test")
    assert state.want("n1.test")
    assert state.want("more.test") is False
    assert len(state.wanted()) == MAX_WANTED
    state.answer("n1.test")
    assert not state.is_wanted("n1.test")
    assert state.want("more.test")


def test_what_is_no_name_is_not_wanted(state):
    (state.folder / "wanted" / "..evil").write_bytes(b"")
    assert state.wanted() == []


def test_a_full_disk_leaves_the_old_certificate(state, monkeypatch):
    chain = keep(state, "a.test")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StateError, match="No space left on device; make room on that disk"):
        keep(state, "a.test")
    monkeypatch.undo()
    assert chain in state.pair_path("a.test").read_bytes()
    assert list(state.certificate_folder("a.test").glob(".new-*")) == []


def test_a_crash_between_writing_and_renaming_leaves_the_old_certificate(state, monkeypatch):
    chain = keep(state, "a.test")

    class Crash(BaseException):
        pass

    def crash(source: Path, target: Path) -> None:
        raise Crash

    monkeypatch.setattr(files.os, "replace", crash)
    with pytest.raises(Crash):
        keep(state, "a.test")
    monkeypatch.undo()
    found = AcmeState(state.state).certificate(["a.test"])
    assert found is not None
    assert chain in state.pair_path("a.test").read_bytes()


def test_what_a_crash_left_is_removed_later(state):
    left = state.folder / "accounts" / ".new-0011"
    left.write_bytes(b"secret")
    os.utime(left, (NOW - 10, NOW - 10))
    state.prepare(NOW)
    assert left.exists(), "somebody may be writing it"
    state.prepare(NOW + 7200)
    assert not left.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "acme").write_bytes(b"")
    with pytest.raises(StateError, match="acme"):
        AcmeState(tmp_path).prepare(NOW)


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "geteuid", lambda: 12345)
    with pytest.raises(StateError, match="belongs to another user"):
        AcmeState(tmp_path).prepare(NOW)


def test_a_chain_of_a_ca_and_its_key_belong_together(state):
    key = new_key()
    with state.lock("a.test"):
        state.keep_certificate("a.test", StubCA().issue(key.public_key(), ["a.test"], NOW), private_pem(key))
    found = state.certificate(["a.test"])
    assert found is not None
    assert found.certificate.key_type == "ECDSA"
