"""Every case of h2spec against `lockgate serve` over TLS, in front of nginx; and that the judge of the cases can say no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import support_h2_wire as h2
import trustme
from conformance.h2_cases import CASES, Case
from conformance.h2_expect import (
    Expectation,
    Met,
    UnmetError,
    closed,
    connection_error,
    data_of,
    ping_answer,
    reset,
    stream_error,
)
from conformance.h2_runner import run
from support_e2e import Certificates, Lockgate, lockgate, nginx
from support_ports import free_port

TIMEOUT = 60.0
"""Seconds; a busy machine is no failure."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockgate]:
    """lockgate in front of nginx, one for all cases."""
    folder = tmp_path_factory.mktemp("conformance")
    certificates = Certificates(trustme.CA(key_type=trustme.KeyType.ECDSA), folder)
    chain, key = certificates.issue("localhost")
    (folder / "nginx").mkdir()
    port = free_port()
    with nginx(folder / "nginx") as web:
        flags: list[str | Path] = ["--listen", f"127.0.0.1:{port}", "--cert", chain, "--key", key]
        flags += ["--backend", f"127.0.0.1:{web.port}", "--workers", "1"]
        with lockgate(folder, certificates.ca, *flags, port=port) as gate:
            yield gate


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.title}")
def test_case(gate: Lockgate, case: Case) -> None:
    """Strictly: an error is told by GOAWAY or RST_STREAM with its code, never by closing alone."""
    assert run(case, lambda: h2.Client(gate.port, ca=gate.ca), TIMEOUT) is Met.YES


def test_all_are_there() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) == 149


class Told(h2.Client):
    """A client that has received these frames, and then the end of the connection or nothing more."""

    def __init__(self, *frames: bytes, end: bool) -> None:
        self.waiting = [h2.Frame(raw[3], raw[4], int.from_bytes(raw[5:9], "big"), raw[9:]) for raw in frames]
        self.end = end
        self.frames = []
        self.timeout = 0.0

    def receive(self, timeout: float | None = None) -> h2.Frame:
        if self.waiting:
            self.frames.append(self.waiting.pop(0))
            return self.frames[-1]
        raise h2.Closed(True) if self.end else TimeoutError


RIGHT, WRONG = h2.goaway(code=1), h2.goaway(code=2)


@pytest.mark.parametrize(
    ("expectation", "frames", "end", "met"),
    [
        (connection_error(1), (RIGHT,), True, Met.YES),
        (connection_error(1), (WRONG,), True, Met.CLOSED),
        (connection_error(1), (), True, Met.CLOSED),
        (connection_error(1), (RIGHT,), False, None),
        (connection_error(1), (h2.rst_stream(1, 1),), False, None),
        (stream_error(1), (h2.rst_stream(1, 1),), False, Met.YES),
        (stream_error(1), (h2.rst_stream(1, 0), RIGHT), False, Met.YES),
        (stream_error(1), (h2.rst_stream(1, 0),), False, None),
        (stream_error(1), (), True, Met.CLOSED),
        (reset(1, 3), (h2.rst_stream(1, 3),), False, Met.YES),
        (reset(1, 3), (h2.rst_stream(1, 1),), False, None),
        (reset(1, 3), (h2.goaway(code=3),), True, None),
        (closed(), (WRONG,), True, Met.YES),
        (closed(), (RIGHT,), False, None),
        (data_of(1, 1), (h2.data(3, b"abc"), h2.data(1, b"a")), False, Met.YES),
        (data_of(1, 1), (h2.data(1, b"ab"),), False, None),
        (ping_answer(b"12345678"), (h2.ping(b"12345678", ack=True),), False, Met.YES),
        (ping_answer(b"12345678"), (h2.ping(b"12345678"),), False, None),
        (ping_answer(b"12345678"), (h2.ping(b"87654321", ack=True),), False, None),
    ],
)
def test_the_judge(expectation: Expectation, frames: tuple[bytes, ...], end: bool, met: Met | None) -> None:
    client = Told(*frames, end=end)
    if met is None:
        with pytest.raises(UnmetError):
            expectation.wait(client, 0)
    else:
        assert expectation.wait(client, 0) is met
