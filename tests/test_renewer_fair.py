"""What is asked of one CA, be it slow or much, keeps no certificate of another one waiting. With threads, as in a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from support_acme import BASE, NOW, StubCA
from support_renewer import acme, host, proofs, published

from lockgate.certs.acme.machine import Fetch
from lockgate.certs.acme.messages import Response
from lockgate.certs.acme.state import AcmeState
from lockgate.server.config import Acme, Config, Host, Listen
from lockgate.server.renewer import MOST, Renewer
from lockgate.server.renewer_process import JOBS, Jobs
from lockgate.server.values import Address, HttpsURL

__all__ = ["proofs"]

PATIENCE = 60.0
SLOW = "https://slow.test/dir"


class Fair:
    """A renewer with two CAs, of which one answers nothing until it is `released`."""

    def __init__(self, folder: Path, *hosts: Host) -> None:
        self.state = AcmeState(folder)
        self.ca = StubCA()
        self.at_once = threading.Lock()
        self.held = 0
        self.released = threading.Event()
        self.jobs = Jobs()
        self.said: list[str] = []
        self.monotonic = 1000.0
        self.renewer = Renewer(
            Config(host=hosts, listen=(Listen(address=Address("127.0.0.1", 1)),), state=folder),
            self.state,
            fetch=self.fetch,
            ask=lambda url, name: True,
            clock=lambda: NOW,
            monotonic=lambda: self.monotonic,
            sleep=lambda seconds: None,
            random=Random(5).random,
            submit=self.jobs.submit,
            say=self.said.append,
        )
        self.renewer.start()

    def fetch(self, request: Fetch, rules: Acme) -> Response:
        if not request.url.startswith(BASE):
            with self.at_once:
                self.held += 1
            assert self.released.wait(2 * PATIENCE)
            return Response(400, {}, b"")
        with self.at_once:
            self.ca.published = published(self.state)
            answer = self.ca.fetch(request, NOW)
        assert isinstance(answer, Response)
        return answer

    def turn_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, self.said
            self.renewer.turn()
            self.monotonic += 1.0
            time.sleep(0.01)

    def end(self) -> None:
        self.released.set()
        self.jobs.end()


def slow() -> Acme:
    return Acme(directory=HttpsURL(SLOW))


@pytest.mark.parametrize(
    "slow_ones", [JOBS, MOST + 10], ids=["as many as there are threads", "as many as there may be"]
)
def test_a_slow_ca_keeps_no_other_one_waiting(tmp_path, slow_ones):
    hosts = [host(f"n{number}.test", rules=slow()) for number in range(slow_ones)]
    world = Fair(tmp_path, *hosts, host("a.test"))
    try:
        world.turn_until(lambda: world.held == JOBS and world.state.certificate(["a.test"]) is not None)
        assert world.held == JOBS
    finally:
        world.end()


def test_a_slow_ca_keeps_no_client_waiting_for_whether_its_name_is_allowed(tmp_path):
    hosts = [host(f"n{number}.test", rules=slow()) for number in range(JOBS)]
    world = Fair(tmp_path, *hosts, host(rules=acme(on_demand=True, ask="http://127.0.0.1:1/")))
    try:
        world.turn_until(lambda: world.held == JOBS)
        world.state.want("c.test")
        world.turn_until(lambda: world.state.certificate(["c.test"]) is not None)
    finally:
        world.end()
