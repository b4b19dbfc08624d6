"""A renewer with a CA in memory and time of its own, for tests of what it asks for and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from support_acme import BASE, NOW, StubCA

from lockgate.certs import state_files as files
from lockgate.certs.acme.challenges import Challenge
from lockgate.certs.acme.machine import Fetch
from lockgate.certs.acme.messages import Response
from lockgate.certs.acme.state import AcmeState
from lockgate.server import renewer
from lockgate.server.acme_fetch import FetchError
from lockgate.server.config import Acme, Config, Host, Listen
from lockgate.server.renewer import Renewer
from lockgate.server.values import Address, HostName, HttpsURL

DAY = 86400.0


def acme(**more: object) -> Acme:
    return Acme(directory=HttpsURL(f"{BASE}/dir"), **more)  # type: ignore[arg-type]


def host(*names: str, rules: Acme | None = None) -> Host:
    return Host(names=tuple(map(HostName, names)), acme=rules or acme())


@dataclass
class World:
    """A renewer, a CA, and clocks that only go on when something waits."""

    folder: Path
    hosts: tuple[Host, ...] = (host("a.test", "b.test"),)
    ca: StubCA = field(default_factory=StubCA)
    wall: float = NOW
    monotonic: float = 1000.0
    said: list[str] = field(default_factory=list)
    down: bool = False
    allowed: Callable[[str], bool] | None = None
    asked: list[str] = field(default_factory=list)
    later: list[Callable[[], None]] | None = None
    """Where jobs wait, instead of being done at once."""

    def __post_init__(self) -> None:
        self.state = AcmeState(self.folder)
        self.orders_at: list[float] = []
        self.renewer = self.restart()

    def restart(self) -> Renewer:
        listen = (Listen(address=Address("127.0.0.1", 1)), Listen(address=Address("127.0.0.1", 2), tls=False))
        self.renewer = Renewer(
            Config(host=self.hosts, listen=listen, state=self.folder),
            AcmeState(self.folder),
            fetch=self.fetch,
            ask=self.ask,
            clock=lambda: self.wall,
            monotonic=lambda: self.monotonic,
            sleep=self.sleep,
            random=Random(5).random,
            submit=lambda authority, job: job() if self.later is None else self.later.append(job),
            say=self.said.append,
        )
        self.renewer.start()
        return self.renewer

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def fetch(self, request: Fetch, rules: Acme) -> Response:
        self.sleep(0.1)
        if request.url == f"{BASE}/order":
            self.orders_at.append(self.monotonic)
        if self.down:
            self.ca.log.append((request.method, "down"))
            raise FetchError("connection refused")
        # What the CA finds is what is in the folder
        self.ca.published = published(self.state)
        answer = self.ca.fetch(request, self.wall)
        assert isinstance(answer, Response)
        return answer

    def ask(self, url: str, name: str) -> bool:
        self.asked.append(name)
        if self.allowed is None:
            raise FetchError("connection refused")
        return self.allowed(name)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.monotonic + seconds
        while self.monotonic < until:
            pause = self.renewer.turn()
            idle = self.later is None and not self.renewer._changed.is_set()
            if idle and self.renewer._look_at > self.monotonic:  # nothing is due before: skip the looks
                pause = max(pause, min(self.renewer._look_at, until) - self.monotonic)
            self.sleep(pause)

    def version(self, name: str = "a.test") -> object:
        found = AcmeState(self.folder).certificate([name])
        return None if found is None else found.version


def published(state: AcmeState) -> list[Challenge]:
    """What a CA would find."""
    found = []
    for path in (state.folder / "challenges" / "http-01").iterdir():
        text = state.http_01_answer(path.name)
        assert text is not None
        found += [Challenge("http-01", name, path.name, text.decode()) for name in ALL]
    for path in (state.folder / "challenges" / "tls-alpn-01").iterdir():
        name = path.name.removesuffix(".pem")
        assert state.tls_alpn_01_certificate(name) is not None
        found.append(Challenge("tls-alpn-01", name, "", TRUSTED[name]))
    return found


ALL = ("a.test", "b.test", "c.test")
TRUSTED: dict[str, str] = {}
"""The proof of tls-alpn-01 is a digest in a certificate, so the stub is told what it stands for."""


@pytest.fixture(autouse=True)
def proofs(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    remember_proofs(monkeypatch)
    monkeypatch.setattr(files.os, "fsync", lambda fd: None)
    if "clock" not in request.node.name:  # months pass in these tests
        monkeypatch.setattr(renewer, "LOOK_AT_ALL", DAY / 3)


def remember_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    original = AcmeState.publish

    def publish(self, challenge, make_key, now):  # type: ignore[no-untyped-def]
        TRUSTED[challenge.name] = challenge.key_authorization
        original(self, challenge, make_key, now)

    monkeypatch.setattr(AcmeState, "publish", publish)
