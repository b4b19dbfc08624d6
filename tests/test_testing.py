"""The in-memory driver keeps to the adapters' contract: the hub of the contract tests runs on it too."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme
from support_adapters import HIGH_WATER, EchoHub, Listener

import lockgate
from lockgate.core.commands import Close, SendData
from lockgate.core.events import Response
from lockgate.testing import MemoryDriver, Peer, TLSClient, VirtualClock, client_context


def make(behaviour: str, **options: Any) -> tuple[EchoHub, MemoryDriver, Peer]:
    """A hub whose connections do `behaviour`, its driver, and a client."""
    hub: Any = EchoHub(upstream=("192.0.2.9", 80))
    driver = MemoryDriver(hub, **options)
    listener: Any = Listener(behaviour)
    return hub, driver, driver.connect(listener)


def test_clock_never_goes_back() -> None:
    clock = VirtualClock(5.0)
    clock.advance_to(7.5)
    clock.advance_to(6.0)
    assert clock() == clock.now == 7.5


def test_echo_and_end_of_file() -> None:
    hub, driver, client = make("echo")
    client.send(b"hello")
    assert client.take() == b"hello"
    assert client.take() == b""
    client.eof()
    assert client.closed is Close.BOTH
    assert not driver.peers
    client.send(b"too late")
    assert hub.violations == []


def test_bytes_come_in_pieces_of_the_read_buffer() -> None:
    hub, _, client = make("echo")
    client.send(bytes(3 * 65536 + 1))
    assert [call for _, call in hub.calls] == ["data"] * 4
    assert len(client.take()) == 3 * 65536 + 1


def test_clients_come_from_different_ports() -> None:
    _, driver, first = make("peer")
    listener: Any = Listener("peer")
    second = driver.connect(listener)
    third = driver.connect(listener, ("2001:db8::1", 9))
    assert [peer.take() for peer in (first, second, third)] == [
        b"192.0.2.1 40000", b"192.0.2.1 40001", b"2001:db8::1 9",
    ]  # fmt: skip


def test_what_a_peer_does_not_take_holds_the_other_side_back() -> None:
    hub, _, client = make("echo")
    client.window = 10
    client.send(bytes(10 * HIGH_WATER))
    assert len(client.take()) == 10
    assert not client.reading
    assert len(client.unread) > 5 * HIGH_WATER
    client.open_window(5)
    assert len(client.take()) == 5
    client.open_window()
    assert len(client.take()) == 10 * HIGH_WATER - 15
    assert not client.unread
    assert hub.violations == []


def test_end_of_file_waits_behind_unread_bytes() -> None:
    hub, driver, client = make("pause")
    client.send(b"one")
    client.send(b"two")
    client.eof()
    assert client.take() == b""
    hub.may_resume.set()
    driver.advance(0.1)
    assert client.take() == b"3 bytes before the pause;two"
    assert client.closed is Close.BOTH
    assert [call for _, call in hub.calls].count("eof") == 1


def test_half_close_and_abort() -> None:
    _, _, client = make("half")
    client.send(b"x")
    assert client.take() == b"that was all"
    assert client.ended
    assert client.open
    _, _, client = make("abort")
    client.send(b"x")
    assert client.closed is Close.ABORT


def test_reset_is_told_once() -> None:
    hub, driver, client = make("echo")
    client.reset()
    client.reset()
    assert hub.calls == [("echo", "lost ECONNRESET")]
    assert not driver.peers


def test_server_accepts_at_once_unless_told_otherwise() -> None:
    hub, driver, client = make("forward")
    server = driver.servers[0]
    assert server.address == ("192.0.2.9", 80)
    assert client.take() == b"connected;"
    client.send(b"over there")
    assert server.take() == b"over there"
    client.eof()
    assert server.ended
    server.eof()
    assert (client.closed, server.closed) == (Close.BOTH, Close.BOTH)
    assert hub.violations == []


def test_server_refuses() -> None:
    _, driver, client = make("forward", on_connect=Peer.refuse)
    assert client.take() == b"failed: ECONNREFUSED"
    assert not driver.peers


def test_attempt_that_hangs() -> None:
    hub, driver, client = make("impatient", on_connect=lambda peer: None)
    driver.servers[0].send(b"not read before the connection is made")
    driver.advance(0.04)
    assert client.take() == b""
    driver.advance(0.01)
    assert client.take() == b"gave up"
    assert driver.servers[0].closed is Close.ABORT
    driver.servers[0].accept()
    assert ("upstream", "connected") not in hub.calls


def test_timers_come_in_order_at_their_own_time() -> None:
    _, driver, client = make("timer")
    start = driver.clock.now
    client.send(b"x")
    driver.advance(1000)
    assert client.take() == b"early;late;"
    assert driver.clock.now == start + 1000


def test_stuck_timer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, driver, _ = make("echo")
    monkeypatch.setattr(hub, "get_timer", driver.clock)
    with pytest.raises(AssertionError, match="does not move on"):
        driver.advance(1)


def test_drain() -> None:
    hub, driver, client = make("echo")
    driver.drain()
    assert client.closed is Close.BOTH
    assert hub.drained


def test_command_after_the_end_is_found() -> None:
    hub, driver, client = make("echo")
    client.eof()
    hub.commands.append(SendData(client.channel))
    with pytest.raises(AssertionError, match="SendData after the connection was closed"):
        driver.settle()


def test_repr_shows_no_content() -> None:
    _, _, client = make("echo")
    client.send(b"secret")
    assert repr(client) == "<Peer ('192.0.2.1', 40000), open, 6 bytes received>"


# The real proxy


class AddField(lockgate.Hooks):
    """What a user's hook may look like."""

    def on_response(self, exchange: lockgate.Exchange, response: Response) -> None:
        response.headers.add(b"x-seen", b"yes")


GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
TLS = lockgate.Listener("https")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def driver(authority: trustme.CA) -> MemoryDriver:
    """The real proxy with a hook, in front of one server."""
    issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    context = lockgate.server_context([(chain, issued.private_key_pem.bytes())])
    policy = lockgate.Policy.build(
        identities=[lockgate.Identity(("localhost",), context)],
        backends=[lockgate.Backend("app", ("192.0.2.10:80",))],
        routes=[lockgate.Route("app")],
    )
    return MemoryDriver(lockgate.ReverseProxy(policy, hooks=AddField()))


def connect_tls(driver: MemoryDriver, authority: trustme.CA, name: str = "localhost") -> TLSClient:
    return TLSClient(driver.connect(TLS), client_context(authority.cert_pem.bytes()), name)


def test_request_through_tls_and_a_hook(driver: MemoryDriver, authority: trustme.CA) -> None:
    client = connect_tls(driver, authority)
    assert client.established
    assert client.tls.selected_alpn_protocol() == "http/1.1"
    client.send(GET)
    server = driver.servers[0]
    assert server.take().startswith(b"GET /x HTTP/1.1\r\n")
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300000))
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert b"x-seen: yes" in head
    assert body == bytes(300000)
    client.close()
    assert client.take() == b""
    assert client.closed


def test_idle_connection_is_closed_after_its_time(driver: MemoryDriver, authority: trustme.CA) -> None:
    client = connect_tls(driver, authority)
    driver.advance(driver.proxy.limits.idle_timeout - 1)
    assert not client.peer.ended
    driver.advance(1)
    assert client.take() == b""
    assert client.closed
    assert client.peer.ended
    driver.advance(driver.proxy.limits.linger_timeout)
    assert client.peer.closed is Close.BOTH
    assert driver.proxy.drained


def test_wrong_name_is_an_error(driver: MemoryDriver, authority: trustme.CA) -> None:
    """The certificate is for localhost; as the only one it is shown to everybody unless SNI is strict."""
    with pytest.raises(ssl.SSLError):
        connect_tls(driver, authority, "other.example")
    driver.advance(driver.proxy.limits.linger_timeout)
    assert driver.proxy.drained


def test_handshake_waits_for_a_proxy_that_does_not_send(driver: MemoryDriver, authority: trustme.CA) -> None:
    peer = driver.connect(TLS)
    peer.window = 100
    client = TLSClient(peer, client_context(authority.cert_pem.bytes()), "localhost")
    assert not client.established
    peer.open_window()
    assert client.take() == b""
    assert client.established


def test_same_actions_same_result(authority: trustme.CA, driver: MemoryDriver) -> None:
    """Plain bytes in any pieces: the server gets the same."""
    plain = lockgate.Listener("plain", tls=False)
    seen = set()
    for size in (1, 2, 7, len(GET)):
        client = driver.connect(plain, ("192.0.2.1", 1))
        for at in range(0, len(GET), size):
            client.send(GET[at : at + size])
        seen.add(driver.servers[-1].take())
    assert len(seen) == 1
