"""Two machines that share a state folder, both at work on the same certificates: none is ordered twice, no file is damaged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from support_acme import NOW, StubCA
from support_renewer import DAY, TRUSTED, host, proofs

from lockgate.certs.acme.challenges import Challenge
from lockgate.certs.acme.machine import Fetch
from lockgate.certs.acme.messages import Response
from lockgate.certs.acme.state import AcmeState
from lockgate.server.config import Acme, Config, Listen
from lockgate.server.renewer import BUSY, Renewer
from lockgate.server.renewer_process import Jobs
from lockgate.server.values import Address

__all__ = ["proofs"]

PATIENCE = 60.0
NAMES = tuple(f"n{number}.test" for number in range(8))


class Machines:
    """Two renewers, with threads, that share a folder, a CA and clocks."""

    def __init__(self, folder: Path) -> None:
        self.state = AcmeState(folder)
        self.ca = StubCA()
        self.one_at_a_time = threading.Lock()
        self.wall, self.monotonic = NOW, 1000.0
        self.jobs = [Jobs(), Jobs()]
        self.said: list[str] = []
        config = Config(host=tuple(map(host, NAMES)), listen=(Listen(address=Address("127.0.0.1", 1)),), state=folder)
        self.renewers = [
            Renewer(
                config,
                AcmeState(folder),
                fetch=self.fetch,
                ask=lambda url, name: True,
                clock=lambda: self.wall,
                monotonic=lambda: self.monotonic,
                sleep=lambda seconds: time.sleep(0.001),
                random=Random(seed).random,
                submit=jobs.submit,
                say=self.said.append,
            )
            for seed, jobs in enumerate(self.jobs)
        ]
        for renewer in self.renewers:
            renewer.start()

    def fetch(self, request: Fetch, rules: Acme) -> Response:
        with self.one_at_a_time:
            self.ca.published = self.published()
            answer = self.ca.fetch(request, self.wall)
        assert isinstance(answer, Response)
        return answer

    def published(self) -> list[Challenge]:
        """What the CA finds, while others write and remove."""
        files = (self.state.folder / "challenges" / "tls-alpn-01").glob("*.pem")
        names = [path.name.removesuffix(".pem") for path in files]
        return [Challenge("tls-alpn-01", name, "", TRUSTED[name]) for name in names]

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def turn_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, self.said
            for renewer in self.renewers:
                renewer.turn()
            self.pass_by(1.0)
            time.sleep(0.001)

    def versions(self) -> list[object]:
        stored = [AcmeState(self.state.state).certificate([name]) for name in NAMES]
        return [None if one is None else one.version for one in stored]

    def is_at_rest(self) -> bool:
        return not any(plan.busy for renewer in self.renewers for plan in renewer._plans.values())


@pytest.fixture
def machines(tmp_path: Path):
    made = Machines(tmp_path)
    yield made
    for jobs in made.jobs:
        jobs.end()


def test_each_certificate_is_ordered_once(machines):
    machines.turn_until(lambda: None not in machines.versions())
    for life in range(1, 4):
        orders = sorted(order.names[0] for order in machines.ca.orders)
        assert orders == sorted(NAMES * life), "\n".join(machines.said)
        for _ in range(int(3 * BUSY)):  # who found another one at it looks again
            machines.turn_until(machines.is_at_rest)
        assert len(machines.ca.orders) == life * len(NAMES)
        before = machines.versions()
        machines.turn_until(machines.is_at_rest)
        machines.pass_by(60 * DAY)
        for renewer in machines.renewers:
            renewer.look_again()
        machines.turn_until(lambda before=before: not {*before} & {*machines.versions()})
    machines.turn_until(machines.is_at_rest)
    assert len(machines.ca.accounts) == 1
    assert not [line for line in machines.said if "issued by" not in line], machines.said
    assert machines.published() == []
    names = [path.name for path in machines.state.folder.rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".new-")]
    assert sorted({name for name in names if "ca.test" not in name}) == ["lock", "pair.pem", "renewal.json"]
