"""Which certificates are warned about, when, and when again; in virtual time."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_certs import NOW

from lockgate.certs.entries import Entry
from lockgate.certs.expiry import MOST, REPEAT, expiry_notices

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)


def entry(path: str, *, days: float, life: float = 90) -> Entry:
    end = NOW + days * DAY
    return Entry(path, path, (f"{path}.test",), "RSA", end - life * DAY, end)


def test_fourteen_days():
    assert expiry_notices([entry("a", days=15)], NOW).texts == ()
    assert expiry_notices([entry("a", days=15)], NOW).again == NOW + DAY
    (text,) = expiry_notices([entry("a", days=13.5)], NOW).texts
    assert text == "certificate a for 'a.test' expires in 13 days, on 2026-06-14 12:00 UTC; renew it"


def test_what_is_left_is_said():
    texts = [expiry_notices([entry("a", days=days)], NOW).texts[0] for days in (1.5, 0.5, -0.5)]
    assert ["in 1 day," in texts[0], "in less than a day," in texts[1], "expired on 2026-05-31" in texts[2]] == [
        True
    ] * 3


@pytest.mark.parametrize("life", [398, 90, 64, 47])
def test_fourteen_days_whatever_lives_that_cas_give_today(life: float):
    """64 and 47 days are what is to come from Let's Encrypt, and what the CA/Browser Forum allows from 2029 on."""
    one = entry("a", days=14, life=life)
    assert expiry_notices([one], NOW - HOUR).texts == ()
    assert len(expiry_notices([one], NOW).texts) == 1


def test_a_short_life_is_warned_about_near_its_end():
    """Behind the last third, in which certbot renews it, so that it is not said of each certificate."""
    assert expiry_notices([entry("a", days=2, life=6)], NOW).texts == ()
    assert len(expiry_notices([entry("a", days=1.8, life=6)], NOW).texts) == 1
    six_days = entry("a", days=3, life=6)
    assert expiry_notices([six_days], NOW).texts == ()
    assert len(expiry_notices([six_days], NOW + 2 * DAY).texts) == 1


def test_once_a_day():
    one = entry("a", days=10)
    first = expiry_notices([one], NOW)
    assert len(first.texts) == 1
    assert first.again == NOW + REPEAT
    assert expiry_notices([one], NOW + HOUR, first.said).texts == ()
    assert expiry_notices([one], NOW + HOUR, first.said).again == NOW + REPEAT
    assert len(expiry_notices([one], NOW + REPEAT, first.said).texts) == 1


def test_renewed_is_not_said_again_and_forgotten():
    first = expiry_notices([entry("a", days=1)], NOW)
    renewed = expiry_notices([entry("a", days=90)], NOW + HOUR, first.said)
    assert renewed.texts == ()
    assert renewed.said == {}


def test_renewed_for_a_short_time_is_another_certificate():
    first = expiry_notices([entry("a", days=1)], NOW)
    assert len(expiry_notices([entry("a", days=2)], NOW + HOUR, first.said).texts) == 1


def test_clock_put_back():
    one = entry("a", days=10)
    later = expiry_notices([one], NOW + 5 * DAY)
    assert len(expiry_notices([one], NOW, later.said).texts) == 1


def test_many_are_counted_the_next_to_expire_first():
    many = [entry(f"c{number:03}", days=13 - number / 100) for number in range(100)]
    notices = expiry_notices(many, NOW)
    assert len(notices.texts) == MOST + 1
    assert notices.texts[0].startswith("certificate c099 ")
    assert notices.texts[-1].startswith("80 more certificates")
    assert expiry_notices(many, NOW + HOUR, notices.said).texts == ()  # those that were counted were said too


def test_no_certificates():
    assert expiry_notices([], NOW).again is None


@given(ends=st.lists(st.floats(-5, 60), max_size=5), steps=st.lists(st.floats(0, 3), max_size=12))
def test_called_when_due_each_is_said_once_a_day(ends, steps):
    entries = [entry(f"e{number}", days=days) for number, days in enumerate(ends)]
    now, said, last = NOW, None, {}
    for step in steps:
        notices = expiry_notices(entries, now, said)
        for one in entries:
            if any(text.startswith(f"certificate {one.cert_path} ") for text in notices.texts):
                assert now - last.get(one.cert_path, now - REPEAT) >= REPEAT
                last[one.cert_path] = now
        if notices.again is not None:
            assert notices.again > now
            assert expiry_notices(entries, notices.again, notices.said).texts
            nearly = notices.again - datetime.timedelta(microseconds=1)
            assert nearly < now or not expiry_notices(entries, max(now, nearly), notices.said).texts
        said = notices.said
        now += step * DAY
