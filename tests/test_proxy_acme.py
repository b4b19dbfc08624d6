"""What a CA finds over plain HTTP (RFC 8555 section 8.3): before redirects and routes, and nothing more than that."""

from __future__ import annotations

import pytest
from support_proxy import OK, PLAIN, World, head

from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Listener

REDIRECT = Listener("redirect", tls=False, redirect_https=True)
ANSWERS = {"token": b"token.proof"}
ASK = "GET /.well-known/acme-challenge/{} HTTP/1.1\nHost: a.test"


class WithChallenges(World):
    def __init__(self, find=ANSWERS.get):  # type: ignore[no-untyped-def]
        super().__init__()
        self.asked: list[str] = []

        def challenges(token: str) -> bytes | None:
            self.asked.append(token)
            found: bytes | None = find(token)
            return found

        self.proxy = ReverseProxy(self.proxy.policy, hooks=self.hooks, challenges=challenges)


@pytest.mark.parametrize("listener", [PLAIN, REDIRECT], ids=["plain", "redirect"])
def test_the_proof_is_found(listener):
    world = WithChallenges()
    client = world.client(listener)
    client.send(head(ASK.format("token")))
    assert client.text.startswith("HTTP/1.1 200 OK\r\n")
    assert "content-type: application/octet-stream" in client.text
    assert client.pop().endswith("\r\n\r\ntoken.proof")
    assert world.records[0].detail == "a CA has checked that this name leads here"


def test_the_connection_goes_on():
    world = WithChallenges()
    client = world.client(REDIRECT)
    client.send(head(ASK.format("token")))
    client.pop()
    client.send(head("GET / HTTP/1.1\nHost: a.test"))
    assert "308" in client.pop()


def test_head_has_no_body():
    client = WithChallenges().client()
    client.send(head(ASK.format("token").replace("GET", "HEAD")))
    assert client.text.startswith("HTTP/1.1 200 OK\r\n")
    assert client.text.endswith("content-length: 11\r\n\r\n")


def test_without_a_proof_the_request_goes_on_like_any_other():
    world = WithChallenges()
    client = world.client(REDIRECT)
    client.send(head(ASK.format("other")))
    assert "location: https://a.test/.well-known/acme-challenge/other\r\n" in client.pop()
    client = world.client(PLAIN)
    client.send(head(ASK.format("other")))
    world.servers[0].send(OK)
    assert client.pop().endswith("hello")


@pytest.mark.parametrize("target", ["/.well-known/acme-challenge", "/.well-known/other/token", "/x", "/x?/.well-known/acme-challenge/token"])  # fmt: skip # noqa: E501
def test_other_paths_are_not_asked_about(target):
    world = WithChallenges()
    world.client(REDIRECT).send(head(f"GET {target} HTTP/1.1\nHost: a.test"))
    assert world.asked == []


def test_other_methods_are_not_answered():
    world = WithChallenges()
    client = world.client(REDIRECT)
    client.send(head(ASK.format("token").replace("GET", "POST") + "\nContent-Length: 0"))
    assert world.asked == []
    assert "308" in client.pop()


@pytest.mark.parametrize("token", ["../token", "..%2ftoken", "a/b", "token?x", "%00", ""])
def test_the_token_comes_as_it_is_and_nothing_is_decoded(token):
    world = WithChallenges()
    client = world.client(REDIRECT)
    client.send(head(ASK.format(token)))
    assert world.asked == [token]
    assert "token.proof" not in client.text


def test_without_challenges_nothing_is_special():
    world = World()
    client = world.client(REDIRECT)
    client.send(head(ASK.format("token")))
    assert "308" in client.pop()


def test_a_fault_of_the_program_is_an_error():
    def broken(token: str) -> bytes | None:
        raise OSError("disk")

    assert_a_500(broken)


def test_a_proof_that_is_no_bytes_is_an_error():
    assert_a_500(lambda token: "disk")  # type: ignore[arg-type, return-value]


def assert_a_500(broken) -> None:
    world = WithChallenges(broken)
    client = world.client(REDIRECT)
    client.send(head(ASK.format("token")))
    assert client.text.startswith("HTTP/1.1 500 ")
    assert world.records[0].end == "hook_failed"
    assert "disk" not in client.text
