"""Four times as much of anything in a configuration is four times the work, in lines of `lockgate.server` that are run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support_config import write_pem
from support_tls import authority

from lockgate import server
from lockgate.certs.acme.state import AcmeState
from lockgate.server import config, toml_lines
from lockgate.server.certs_command import list_certificates, list_missing
from lockgate.server.check import prepare
from lockgate.server.problems import ConfigError
from lockgate.server.stamps import stamps, stamps_now

SERVER = str(Path(server.__file__).parent)
FEW = 50
MOST_GROWTH = 4.8
"""Of four times as many. Where each is compared with each it is more than ten."""

PLAIN = '[[listen]]\naddress = "127.0.0.1:8443"\ntls = false\n'
TLS = 'state = "state"\n[[listen]]\naddress = "127.0.0.1:8443"\n[[certificate]]\ndirectory = "folder"\n'
APP = '[backend.app]\nservers = ["127.0.0.1:9000"]\n'
RAW = '[backend.raw]\nservers = ["127.0.0.1:9001"]\n'
ROUTE = '[[route]]\nbackend = "app"\n'
ACME = 'acme = { directory = "https://acme.test/" }\n'
CLIENTS = 'client_auth = { mode = "required", ca = "ca.pem" }\n'

CA = '[backend.safe]\nservers = ["safe.test:443"]\ntls = { ca = "ca.pem" }\n'


def times(text: str) -> Callable[[int], str]:
    return lambda count: "".join(text.replace("N", str(number)) for number in range(count))


KINDS: dict[str, tuple[str, Callable[[int], str]]] = {
    "routes": (TLS + APP, times('[[route]]\nhost = "sN.test"\npath = "/N"\nbackend = "app"\n')),
    "routes that no certificate is for": (TLS + APP, times('[[route]]\nhost = "sN.other"\nbackend = "app"\n')),
    "routes of wildcards": (
        TLS + APP + "[tls]\nstrict_sni = false\n",
        times('[[route]]\nhost = "*.sN.test"\nbackend = "app"\n'),
    ),
    "passed on": (
        TLS + APP + RAW + ROUTE,
        times('[[host]]\nnames = ["pN.other"]\npassthrough = "raw"\n[[route]]\nhost = "sN.test"\nbackend = "app"\n'),
    ),
    "wildcards passed on": (
        TLS + APP + RAW + ROUTE,
        times(
            '[[host]]\nnames = ["*.pN.other"]\npassthrough = "raw"\n[[route]]\nhost = "*.pN.other"\nbackend = "app"\n'
        ),
    ),
    "clients": (TLS + APP + ROUTE, times(f'[[host]]\nnames = ["sN.test"]\n{CLIENTS}')),
    "clients of wildcards": (TLS + APP + ROUTE, times(f'[[host]]\nnames = ["*.sN.test"]\n{CLIENTS}')),
    "acme": (TLS + APP + ROUTE, times(f'[[host]]\nnames = ["aN.other"]\n{ACME}')),
    "mistakes": (PLAIN + APP, times('[[route]]\nhost = "sN.test"\npath = 1\nbackend = "app"\n')),
    "unknown keys": (PLAIN + APP, times('[[route]]\nhost = "sN.test"\npfad = "/"\nbackend = "app"\n')),
    "routes to nowhere": (PLAIN + APP, times('[[route]]\nhost = "sN.test"\nbackend = "nowhere"\n')),
}


def lines_run(work: Callable[[], Any]) -> int:
    """How many lines of `lockgate.server` are run; each round of a loop is one at least."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
        return trace if frame.f_code.co_filename.startswith(SERVER) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """As many names of certificates as there are tables in the larger case."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


def certificates(site: Path, count: int) -> None:
    names = [name for number in range(count) for name in (f"s{number}.test", f"a.s{number}.test")]
    write_pem(site / "folder", "many", authority().issue(*names))


def checked(path: Path) -> None:
    with suppress(ConfigError):
        prepare(config.read_file(path))


def list_those_of_acme(draft: config.Draft, count: int) -> None:
    now = datetime.now(UTC)
    rows = list_certificates(draft.config, now, [])
    assert len(rows) == count
    assert len(list_missing(draft.config, rows, now)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_checks(site: Path, kind: str) -> None:
    head, more = KINDS[kind]
    counts = []
    for count in (FEW, 4 * FEW):
        path = site / "lockgate.toml"
        path.write_text(head + more(count))
        certificates(site, count)
        counts.append(lines_run(partial(checked, path)))
    assert counts[1] < MOST_GROWTH * counts[0], counts


def test_lists_of_certificates(tmp_path: Path) -> None:
    """As the admin address has them, of a proxy that runs."""
    write_pem(tmp_path, "site", authority().issue("a.test"))
    counts = []
    for count in (FEW, 4 * FEW):
        path = tmp_path / "lockgate.toml"
        path.write_text(
            PLAIN + APP + ROUTE + times('[[certificate]]\ncert = "site.pem"\nkey = "site.key"\n# N\n')(count)
        )
        prepared = prepare(config.read_file(path))
        now = datetime.now(UTC)
        counts.append(lines_run(partial(list_certificates, prepared.config, now, [], prepared.loaded)))
    assert counts[1] < MOST_GROWTH * counts[0], counts


def test_lists_of_certificates_by_acme(site: Path) -> None:
    state = AcmeState(site / "state")
    state.prepare(0.0)
    pem = authority().issue("a.test")
    counts = []
    for count in (FEW, 4 * FEW):
        for number in range(count):
            pair = state.pair_path(f"a{number}.other")
            pair.parent.mkdir(mode=0o700, exist_ok=True)
            pair.write_bytes(pem.key + pem.chain)
        path = site / "lockgate.toml"
        on_demand = f"[[host]]\nnames = []\n{ACME}".replace(" }", ', on_demand = true, allow = ["*.d.test"] }')
        path.write_text(TLS + APP + ROUTE + times(f'[[host]]\nnames = ["aN.other"]\n{ACME}')(count) + on_demand)
        counts.append(lines_run(partial(list_those_of_acme, config.read_file(path), count)))
    assert counts[1] < MOST_GROWTH * counts[0], counts


def test_a_look_at_the_files_does_not_go_through_all_tables(site: Path) -> None:
    """Which files there are to look at each second is known from the start."""
    certificates(site, 1)
    counts = []
    for count in (FEW, 4 * FEW):
        path = site / "lockgate.toml"
        path.write_text(TLS + APP + ROUTE + times('[[route]]\nhost = "sN.test"\nbackend = "app"\n')(count) + CA)
        prepared = prepare(config.read_file(path))
        assert stamps_now(prepared.stamps) == stamps(prepared.config) == prepared.stamps
        assert list(prepared.stamps) == [site / "ca.pem"]
        counts.append(lines_run(partial(stamps_now, prepared.stamps)))
    assert counts[0] == counts[1]


def test_lines_are_counted_for_messages_only(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On which line everything was written nobody asks as long as there is nothing to say."""
    texts: list[str] = []
    count = toml_lines.key_lines
    monkeypatch.setattr(toml_lines, "key_lines", lambda text: texts.append(text) or count(text))
    path = site / "lockgate.toml"
    path.write_text(PLAIN + APP + times('[[route]]\nhost = "sN.test"\nbackend = "app"\n')(FEW))
    prepare(config.read_file(path))
    assert texts == []
    path.write_text(path.read_text() + times('[[route]]\nhost = "sN.test"\nbackend = "app"\n')(FEW))
    with pytest.raises(ConfigError) as error:
        prepare(config.read_file(path))
    assert len(error.value.problems) == FEW
    assert len(texts) == 1
