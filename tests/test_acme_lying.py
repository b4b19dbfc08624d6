"""A CA that says too much: what it sends is bounded before it is looked at, kept, or written to a log."""

from __future__ import annotations

from random import Random

import pytest
from support_acme import BASE, NOW, Course, StubCA, account, drive, json_response, new_key
from support_renewer import DAY, World, proofs

from lockgate.certs.acme.client import Issuance
from lockgate.certs.acme.machine import Fetch, Publish
from lockgate.certs.acme.messages import MAX_BODY, Response

__all__ = ["proofs"]

NAMES = ("example.com", "www.example.com")
KEY = new_key()


def course(path: str, answer: Response) -> Course:
    """What comes of an order when requests to this path are answered like that."""
    ca = StubCA(faults=[lambda fetch, now: answer if fetch.url.startswith(BASE + path) else None])
    found = drive(Issuance(account(), NAMES, KEY, random=Random(2).random), ca)
    assert ca.published == []
    return found


@pytest.mark.parametrize("path", ["/dir", "/nonce", "/acct", "/order", "/authz", "/chall", "/finalize", "/cert"])
@pytest.mark.parametrize("status", [200, 403, 503])
def test_every_answer_is_bounded(path, status):
    found = course(path, Response(status, {"content-type": "application/json"}, b" " * (MAX_BODY + 1)))
    assert f"is longer than {MAX_BODY} bytes" in found.error
    asked = [action for action in found.of(Fetch) if action.url.startswith(BASE + path)]
    assert len(asked) == (4 if status == 503 else 1)


def test_the_faults_of_thousands_of_challenges_are_not_all_told():
    one = {
        "type": "http-01",
        "url": f"{BASE}/c",
        "token": "t" * 22,
        "status": "invalid",
        "error": {"detail": "no" * 100},
    }
    identifier = {"type": "dns", "value": "example.com"}
    answer = json_response({"status": "invalid", "identifier": identifier, "challenges": [one] * 2000})
    assert len(answer.body) < MAX_BODY
    error = course("/authz", answer).error
    assert error.startswith("the CA could not verify example.com: http-01: nono")
    assert len(error) < 4000


def test_a_chain_that_no_client_takes_is_refused():
    """OpenSSL, as a client, gives up at 100 KiB: every client would, and the certificate that is there is better."""
    leaf, own = StubCA().issue(KEY.public_key(), list(NAMES), NOW).split(b"-----BEGIN")[1:]
    chain = b"-----BEGIN" + leaf + (b"-----BEGIN" + own) * 300
    answer = Response(200, {"content-type": "application/pem-certificate-chain"}, chain)
    assert course("/cert", answer).error == "the certificate is longer than 100000 bytes, which no client would take"


def test_a_ca_that_always_asks_for_a_little_time_is_left_within_an_hour():
    """What is said of one answer holds for each of hundreds."""
    names = [f"a{number}.test" for number in range(100)]
    ca, asked = StubCA(), [0]

    def busy(fetch: Fetch, now: float) -> Response | None:
        if not fetch.url.startswith(f"{BASE}/authz"):
            return None
        asked[0] += 1
        return Response(503, {"retry-after": "80"}, b"") if asked[0] % 4 else None

    ca.faults = [busy]
    found = drive(Issuance(account(), names, KEY, random=Random(2).random), ca)
    assert "has taken more than an hour already" in found.error
    assert NOW + 3600 < found.now < NOW + 3700
    assert found.of(Publish)
    assert ca.published == []


def test_a_certificate_of_the_future_is_refused(tmp_path):
    """It would be shown to clients at once, in the place of one that is good, and be renewed in its own time."""
    world = World(tmp_path)
    world.run(10)
    good = world.version()
    issue = world.ca.issue
    world.ca.issue = lambda key, names, now: issue(key, names, now + 400 * DAY)
    world.run(70 * DAY)
    assert world.version() == good
    assert "is not valid yet" in world.said[-1]
    world.ca.issue = issue
    world.run(DAY)
    assert world.version() != good


@pytest.mark.parametrize("status", [None, "", 5, ["valid"], {}, "deactivated"])
def test_an_account_is_valid_only_if_that_is_what_it_is(status):
    answer = json_response({"status": status}, 201, location=f"{BASE}/account/0")
    assert course("/acct", answer).error.startswith("the account is ")


@pytest.mark.parametrize("depth", range(900, 1001, 4))
def test_what_is_nested_deeply_ends_in_words(depth):
    """As deep as can still be read: nothing that goes through it afterwards, to show it, runs out of stack."""
    body = b'{"type": "x", "detail": ' + b"[" * depth + b"]" * depth + b"}"
    answer = Response(403, {"content-type": "application/problem+json"}, body)
    assert course("/order", answer).error.startswith("the order was refused with status 403: ")
