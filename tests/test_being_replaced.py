"""Certbot replaces the links to key and certificate one after the other: whoever looks first in between waits, or goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support_config import GOOD
from support_tls import Pem, authority

from lockgate.certs import entries
from lockgate.core.commands import NeedCertificate
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.server import certificates, config, loaded
from lockgate.server.certificates import CertificateKeeper
from lockgate.server.check import prepare
from lockgate.server.problems import ConfigError
from lockgate.server.serve import _Service

OF_FILES = GOOD.replace('"site.pem"', '"live/fullchain.pem"').replace('"site.key"', '"live/privkey.pem"')
OF_FOLDER = GOOD.replace('cert = "site.pem"\nkey = "site.key"', 'directory = "live"')
OTHER = "\n[limits]\nmax_requests = 77\n"


def replace(path: Path, content: bytes) -> None:
    new = path.with_name(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(path)


class Live:
    """A folder as certbot has it, with a certificate that is being renewed: the key is the new one already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "live"
        self.folder.mkdir()
        self.old, self.new = (authority().issue("localhost", last_day=day) for day in (300, 400))
        self.put(self.old)

    def put(self, pem: Pem) -> None:
        replace(self.folder / "privkey.pem", pem.key)
        replace(self.folder / "fullchain.pem", pem.chain)

    def first_step(self) -> None:
        replace(self.folder / "privkey.pem", self.new.key)

    def second_step(self) -> None:
        replace(self.folder / "fullchain.pem", self.new.chain)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.setattr(entries, "LATELY", 1000.0)  # however busy this machine is
    return Live(tmp_path)


def draft(live: Live, text: str) -> config.Draft:
    path = live.folder.parent / "lockgate.toml"
    path.write_text(text)
    return config.read_file(path)


class Pauses:
    """What is waited, and what happens in the first such pause."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Callable[[], None] = lambda: None) -> None:
        self.waited: list[float] = []
        self.now = 1000.0
        self._then = then
        for module in (loaded, certificates):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds
        if len(self.waited) == 1:
            self._then()


def test_who_starts_in_between_waits(live, monkeypatch):
    live.first_step()
    pauses = Pauses(monkeypatch, live.second_step)
    prepared = prepare(draft(live, OF_FILES), patient=True)
    assert [one.certificate.chain_pem for one in prepared.loaded] == [live.new.chain]
    assert prepared.warnings == ()
    assert len(pauses.waited) == 1


def test_not_for_long_and_then_it_is_told(live, monkeypatch):
    live.first_step()
    pauses = Pauses(monkeypatch)
    with pytest.raises(ConfigError, match="does not belong to the certificate") as caught:
        prepare(draft(live, OF_FILES), patient=True)
    assert len(caught.value.problems) == 1
    assert 0.5 <= sum(pauses.waited) <= 2


def test_nobody_waits_for_files_that_have_been_like_that(live, monkeypatch):
    live.first_step()
    monkeypatch.setattr(entries, "LATELY", -1.0)
    pauses = Pauses(monkeypatch)
    with pytest.raises(ConfigError, match="does not belong"):
        prepare(draft(live, OF_FILES), patient=True)
    assert pauses.waited == []


def test_check_does_not_wait(live, monkeypatch):
    live.first_step()
    pauses = Pauses(monkeypatch)
    with pytest.raises(ConfigError, match="does not belong"):
        prepare(draft(live, OF_FILES))
    assert pauses.waited == []


def test_a_link_that_is_just_being_put_anew_is_waited_for(live, monkeypatch):
    """Between removing the old one and making the new one."""
    key = live.folder / "privkey.pem"
    key.unlink()
    pauses = Pauses(monkeypatch, lambda: live.put(live.new))
    assert prepare(draft(live, OF_FILES), patient=True).loaded[0].certificate.chain_pem == live.new.chain
    assert len(pauses.waited) == 1


def test_a_link_to_files_of_long_ago_counts_too(live, monkeypatch):
    """Those in `archive` may have been written before."""
    file, link = live.folder / "fullchain.pem", live.folder / "link.pem"
    written = file.stat().st_ctime
    while True:
        link.unlink(missing_ok=True)
        link.symlink_to(file)
        if link.lstat().st_ctime > written:
            break
        time.sleep(0.001)
    linked = link.lstat().st_ctime
    now = [linked]
    monkeypatch.setattr(entries, "time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(entries, "LATELY", (linked - written) / 2)
    assert entries.changed_lately(link)
    assert not entries.changed_lately(file)
    now[0] = linked + 10.0
    assert not entries.changed_lately(link)
    link.unlink()
    assert not entries.changed_lately(link)
    now[0] = live.folder.stat().st_ctime
    assert entries.changed_lately(link), "it may be put there anew"
    assert not entries.changed_lately(live.folder / "nowhere" / "x.pem")
    assert not entries.changed_lately(file / "x.pem")


class Served(_Service):
    """A running one, and workers that are started now."""

    def __init__(self, live: Live, text: str) -> None:
        self.live = live
        super().__init__(prepare(draft(live, text)), None, lambda: draft(live, self.text))
        self.text = text

    def reload(self) -> None:
        generation = super().reload()
        assert generation is not None, "nothing is changed"
        generation.in_service()

    def worker(self) -> tuple[CertificateKeeper, ReverseProxy]:
        proxy = ReverseProxy(self._prepared.policy)
        keeper = CertificateKeeper(self._prepared, proxy, loaded=self._newest)
        keeper.start()
        return keeper, proxy


def shown(keeper: CertificateKeeper, proxy: ReverseProxy) -> list[bytes]:
    """What a client gets."""
    index = proxy.policy.identity_for("localhost")
    identity = proxy.policy.identities[index]
    if identity.context is None:
        identity = keeper.find(NeedCertificate(None, None, identity, None, ("", 0)))
    if identity is None:
        return []
    (core,) = [core for core in keeper._by_core if core == id(identity)]
    return [entry.content[0] for entry in keeper._by_core[core].entries]


@pytest.fixture
def served(live: Live, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    made = Served(live, OF_FOLDER.replace(":8443", ":0"))
    yield made
    made.close_sockets()


def test_a_reload_in_between_goes_on_with_the_old_one_of_a_folder(live, served, monkeypatch):
    assert shown(*served.worker()) == [live.old.chain]
    live.first_step()
    served.text += OTHER
    served.reload()
    keeper, proxy = served.worker()
    assert shown(keeper, proxy) == [live.old.chain]
    live.second_step()
    keeper.look()
    assert shown(keeper, proxy) == [live.new.chain]


@pytest.mark.parametrize("gone", ["fullchain.pem", "privkey.pem"])
def test_a_reload_while_a_link_is_put_anew_keeps_the_name(live, served, gone):
    (live.folder / gone).unlink()
    served.text += OTHER
    served.reload()
    keeper, proxy = served.worker()
    assert shown(keeper, proxy) == [live.old.chain]
    live.put(live.new)
    keeper.look()
    assert shown(keeper, proxy) == [live.new.chain]


def test_what_was_removed_before_a_reload_is_gone_after_the_next_looks(live, served):
    for path in live.folder.iterdir():
        path.unlink()
    served.text += OTHER
    served.reload()
    keeper, proxy = served.worker()
    for _ in range(2):
        keeper._folders_due = 0.0
        keeper.look()
    assert [identity.names for identity in proxy.policy.identities] == []


def test_a_reload_of_files_in_between_waits(live, served, monkeypatch):
    served.text = OF_FILES.replace(":8443", ":0")
    served.reload()
    live.first_step()
    served.text += OTHER
    pauses = Pauses(monkeypatch, live.second_step)
    served.reload()
    assert served._prepared.loaded[0].certificate.chain_pem == live.new.chain
    assert len(pauses.waited) == 1


def test_a_client_that_comes_in_between_waits(live, served, monkeypatch):
    """There was no generation before that had it."""
    live.first_step()
    made = Served(live, OF_FOLDER.replace(":8443", ":0"))
    keeper, proxy = made.worker()
    said: list[str] = []
    monkeypatch.setattr(keeper, "_say", said.append)

    def then() -> None:
        live.second_step()
        assert keeper._wake.is_set(), "the other thread is to look at once"
        keeper._folders_due = 0.0
        keeper.look()

    pauses = Pauses(monkeypatch, then)
    assert shown(keeper, proxy) == [live.new.chain]
    assert len(pauses.waited) == 1
    assert not any("does not belong" in text for text in said)
    made.close_sockets()


def test_a_client_does_not_wait_for_long_and_then_it_is_told(live, served, monkeypatch):
    live.first_step()
    made = Served(live, OF_FOLDER.replace(":8443", ":0"))
    keeper, proxy = made.worker()
    said: list[str] = []
    monkeypatch.setattr(keeper, "_say", said.append)
    pauses = Pauses(monkeypatch)
    assert shown(keeper, proxy) == []
    assert 0.5 <= sum(pauses.waited) <= 2
    assert [text for text in said if "does not belong" in text] == said != []
    waited = len(pauses.waited)
    assert shown(keeper, proxy) == [], "and not again at once"
    assert len(pauses.waited) == waited
    made.close_sockets()
