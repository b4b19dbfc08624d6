"""Revocation lists before they expire and when they have: what is logged and when, what is shown, in real and virtual time."""

from __future__ import annotations

import datetime
import json
from argparse import Namespace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_certs import NOW
from support_config import GOOD, found, load, write_pem
from support_e2e import wait_until
from support_mtls import clients, pem_of, revocation_list
from support_serve import Backend, Start, backend, curl, folder, start
from support_tls import authority
from test_admin import admin_of, samples

from lockgate.certs.expiry import MOST, REPEAT
from lockgate.certs.revocation import RevocationList, revocation_lists, revocation_notices
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.tls.client_auth import ClientAuthError
from lockgate.server import certificates, certs_command
from lockgate.server.certificates import CertificateKeeper
from lockgate.server.counters import Counters
from lockgate.server.metrics import ProxyCollector, metrics_text

__all__ = ["backend", "folder", "start"]

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
SECOND = datetime.timedelta(seconds=1)
HOST = """
[[host]]
names = ["localhost", "other.test", "third.test"]
client_auth = { mode = "required", ca = "clients.pem", crl = "clients.crl" }
"""


def of(path: str, *, days: float | None, life: float = 30, issuer: str = "CN=clients") -> RevocationList:
    end = None if days is None else NOW + days * DAY
    return RevocationList(path, issuer, (end or NOW) - life * DAY, end)


# -- what is said, and when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("life", "notice"), [(30, 3.0), (12, 3.0), (7, 1.75), (1, 0.25), (1 / 24, 1 / 96)])
def test_the_last_quarter_but_at_most_three_days(life: float, notice: float) -> None:
    one = of("a", days=life, life=life)
    begins = NOW + (life - notice) * DAY
    assert revocation_notices([one], begins - SECOND).texts == ()
    again = revocation_notices([one], NOW).again
    assert again is not None
    assert abs(again - begins) < SECOND
    (text,) = revocation_notices([one], begins + SECOND).texts
    assert text.startswith("revocation list a of 'CN=clients' expires in ")


def test_the_file_the_issuer_and_the_date_are_named() -> None:
    (text,) = revocation_notices([of("clients.crl", days=2.5)], NOW).texts
    assert text == (
        "revocation list clients.crl of 'CN=clients' expires in 2 days, on 2026-06-03 12:00 UTC, "
        "and then all clients that it is about are refused; fetch the new one"
    ).replace("2026-06-03 12:00", f"{NOW + 2.5 * DAY:%Y-%m-%d %H:%M}")
    (text,) = revocation_notices([of("clients.crl", days=-1)], NOW).texts
    assert text == (
        f"revocation list clients.crl of 'CN=clients' EXPIRED on {NOW - DAY:%Y-%m-%d %H:%M} UTC: "
        "all clients that it is about are refused; fetch the new one"
    )


@pytest.mark.parametrize(
    ("hours", "left"), [(72, "3 days"), (47, "47 hours"), (2, "2 hours"), (1, "less than two hours")]
)
def test_how_long_is_left(hours: int, left: str) -> None:
    (text,) = revocation_notices([of("a", days=hours / 24)], NOW).texts
    assert f" expires in {left}, " in text


def test_that_it_has_expired_is_said_in_that_moment_although_it_was_warned_about_just_before() -> None:
    one = of("a", days=0.5)
    first = revocation_notices([one], NOW)
    assert len(first.texts) == 1
    assert first.again == one.next_update
    assert revocation_notices([one], NOW + 11 * HOUR, first.said).texts == ()
    second = revocation_notices([one], NOW + 12 * HOUR, first.said)
    assert "EXPIRED" in second.texts[0]
    assert second.again == NOW + 12 * HOUR + REPEAT
    assert revocation_notices([one], NOW + 13 * HOUR, second.said).texts == ()


def test_one_that_never_expires() -> None:
    assert revocation_notices([of("a", days=None)], NOW).again is None


def test_many_are_counted() -> None:
    notices = revocation_notices([of(f"{number:02}", days=1 + number / 100) for number in range(30)], NOW)
    assert len(notices.texts) == MOST + 1
    assert notices.texts[0].startswith("revocation list 00 ")
    assert notices.texts[-1].startswith("10 more revocation lists")


def test_an_issuer_that_would_upset_a_terminal() -> None:
    (text,) = revocation_notices([of("a", days=1, issuer="CN=\x1b]0;x\x07\n\u202e")], NOW).texts
    assert text.isprintable()
    assert text.isascii()


@given(ends=st.lists(st.floats(-5, 60), max_size=5), steps=st.lists(st.floats(0, 3), max_size=12))
def test_called_when_due_each_is_said_once_a_day_and_once_more_at_its_end(
    ends: list[float], steps: list[float]
) -> None:
    lists = [of(f"e{number}", days=days) for number, days in enumerate(ends)]
    now, said = NOW, None
    last: dict[tuple[str, bool], datetime.datetime] = {}
    for step in steps:
        notices = revocation_notices(lists, now, said)
        for one in dict.fromkeys(lists):
            key = (one.path, one.is_expired(now))
            if any(text.startswith(f"revocation list {one.path} ") for text in notices.texts):
                assert now - last.get(key, now - REPEAT) >= REPEAT
                last[key] = now
        if notices.again is not None:
            assert notices.again > now
            assert revocation_notices(lists, notices.again, notices.said).texts
        said = notices.said
        now += step * DAY


def test_what_a_file_has_in_it() -> None:
    both = revocation_list() + revocation_list(of_root=True, last_day=5)
    one, root = revocation_lists(both, "x")
    assert (one.path, root.path) == ("x", "x")
    assert (one.issuer, root.issuer) == ("CN=lockgate clients signing", "CN=lockgate clients root")
    assert one.next_update is not None
    assert root.next_update is not None
    assert 24 < (one.next_update - root.next_update).days < 26
    with pytest.raises(ClientAuthError):
        revocation_lists(b"nothing", "x")


# -- a configuration -------------------------------------------------------------------------------------------------


def put(folder: Path, *, first_day: int = -9, last_day: int = 1) -> None:
    of_root = revocation_list(of_root=True)
    (folder / "clients.crl").write_bytes(revocation_list(first_day=first_day, last_day=last_day) + of_root)
    (folder / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", authority().issue("localhost", "other.test", "third.test"))
    put(tmp_path)
    return tmp_path


def test_check_warns_before_it_expires_and_not_long_before(configured: Path) -> None:
    ((line, text),) = found(configured, GOOD + HOST)
    assert line == 14
    assert text.startswith(f"warning: {configured}/clients.crl: the list of 'CN=lockgate clients signing' expires on ")
    assert text.endswith("; fetch the new one before that; after it all its clients are refused")
    put(configured, first_day=-5, last_day=2)
    assert found(configured, GOOD + HOST) == [], "a week, of which more than a quarter is left"
    put(configured, last_day=-1)
    ((_, text),) = found(configured, GOOD + HOST)
    assert not text.startswith("warning")
    assert "expired on" in text


class Date(datetime.datetime):
    """A clock that a test sets."""

    ahead = datetime.timedelta()

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
        return datetime.datetime.now(tz) + cls.ahead


def test_a_running_proxy_says_it_daily_and_when_it_has_expired(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(certificates, "datetime", Date)

    def said(**ahead: float) -> list[str]:
        monkeypatch.setattr(Date, "ahead", datetime.timedelta(**ahead))
        keeper.look()
        return [line for line in capsys.readouterr().err.splitlines() if "revocation list" in line]

    put(configured, first_day=-28, last_day=2)
    prepared = load(configured, GOOD + HOST)
    keeper = CertificateKeeper(prepared, ReverseProxy(prepared.policy))
    assert said() == [], "it was said at the start"
    (warning,) = said(hours=25)
    assert warning.startswith(f"lockgate: revocation list {configured}/clients.crl of 'CN=lockgate clients signing' ")
    assert " expires in " in warning
    assert said(hours=47) == []
    (expired,) = said(hours=49)
    assert " EXPIRED on " in expired
    assert said(hours=50) == []
    assert " EXPIRED on " in said(days=400)[0]
    assert " expires in " in said(hours=26)[0], "the clock was ahead"
    monkeypatch.setattr(Date, "ahead", 3 * DAY)
    keeper = CertificateKeeper(prepared, ReverseProxy(prepared.policy))
    assert " EXPIRED on " in said(days=3)[0], "a worker that took the place of another: nobody may have said it"
    keeper = CertificateKeeper(prepared, ReverseProxy(prepared.policy), speaks=False)
    assert said(days=3) == [], "one worker speaks"


def test_certs_lists_them(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configured / "lockgate.toml").write_text(GOOD + HOST)
    now = datetime.datetime.now(datetime.UTC)
    assert certs_command.run(Namespace(file=configured / "lockgate.toml", json=False), now) == 0
    output = capsys.readouterr()
    table = output.out.split("\n\n")[1]
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]
    path = f"{configured}/clients.crl"
    assert rows == [
        ["REVOCATION LIST OF", "DAYS", "HOSTS", "FILE"],
        ["CN=lockgate clients signing", "0", "localhost, other.test +1", path],
        ["CN=lockgate clients root", "29", "localhost, other.test +1", path],
    ]
    assert f"warning: revocation list {path} of 'CN=lockgate clients signing' expires in 23 hours" in output.err
    assert certs_command.run(Namespace(file=configured / "lockgate.toml", json=True), now) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in listed] == ["issued", "revocation list", "revocation list"]
    assert all(one.keys() == listed[0].keys() for one in listed)
    assert (listed[1]["days_left"], listed[1]["issuer"]) == (0, "CN=lockgate clients signing")
    assert listed[1]["hosts"] == ["localhost", "other.test", "third.test"]


@pytest.mark.parametrize("content", [None, b"nothing", b"-----BEGIN X509 CRL-----\nAA\n-----END X509 CRL-----\n"])
def test_certs_tells_of_a_file_that_cannot_be_read(
    configured: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    (configured / "lockgate.toml").write_text(GOOD + HOST)
    (configured / "clients.crl").unlink()
    if content is not None:
        (configured / "clients.crl").write_bytes(content)
    assert certs_command.run(Namespace(file=configured / "lockgate.toml", json=True)) == 2
    output = capsys.readouterr()
    assert [one["state"] for one in json.loads(output.out)] == ["issued"]
    assert f"lockgate.toml:14: {configured}/clients.crl: " in output.err


def test_two_lists_of_an_authority_are_one_metric() -> None:
    """A line with the same labels twice would cost the whole scrape."""
    lists = [of("a", days=20), of("a", days=10), of("b", days=None)]
    counters = Counters()
    shown = samples(metrics_text(ProxyCollector(counters.totals, counters.backends, list, lists, 0.0)))
    ends = {dict(key[1])["file"]: value for key, value in shown.items() if key[0].startswith("lockgate_revocation")}
    assert ends == {"a": (NOW + 10 * DAY).timestamp(), "b": float("inf")}


def test_a_real_proxy_shows_those_in_service(folder: Path, backend: Backend, start: Start) -> None:
    put(folder)
    service = start(
        text=f"""
        admin = "127.0.0.1:0"
        workers = 1
        [[listen]]
        address = "127.0.0.1:0"
        [[certificate]]
        cert = "site.pem"
        key = "site.key"
        [[host]]
        names = ["localhost"]
        client_auth = {{ mode = "required", ca = "clients.pem", crl = "clients.crl" }}
        [[route]]
        backend = "app"
        [backend.app]
        servers = ["{backend.address}"]
        """
    )
    assert "clients.crl: the list of 'CN=lockgate clients signing' expires on " in service.output()

    def ends() -> dict[str, float]:
        shown = samples(curl(folder, f"{admin_of(service)}/metrics").encode())
        named = [(dict(key[1]), value) for key, value in shown.items() if key[0].startswith("lockgate_revocation")]
        assert all(labels["file"] == f"{folder}/clients.crl" for labels, _ in named)
        return {labels["issuer"]: value for labels, value in named}

    before = ends()
    assert before.keys() == {"CN=lockgate clients signing", "CN=lockgate clients root"}
    assert before["CN=lockgate clients root"] - before["CN=lockgate clients signing"] == pytest.approx(
        29 * 86400, abs=60
    )
    page = curl(folder, admin_of(service))
    assert "<h2>Revocation lists</h2>" in page
    assert page.count(f"<td>{folder}/clients.crl</td>") == 2
    assert '"state": "revocation list"' in curl(folder, f"{admin_of(service)}/certificates.json")
    put(folder, last_day=20)
    signing = "CN=lockgate clients signing"
    wait_until(lambda: ends()[signing] - before[signing] > 18 * 86400, "the new list to be shown")
