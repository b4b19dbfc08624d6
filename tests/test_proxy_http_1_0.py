"""Clients of HTTP/1.0, which need not name a host: towards a server that is a duty (RFC 9112 section 3.2)."""

from __future__ import annotations

import pytest
from support_proxy import OK, World

from lockgate.core.proxy.policy import Backend


@pytest.mark.parametrize(
    ("server", "host"),
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[2001:db8::1]:8080", "[2001:db8::1]:8080"),
        ("app.internal:9000", "app.internal:9000"),
        ("unix:/run/app.sock", "localhost"),
        ("b\u00fccher.example:80", "localhost"),
        ("[fe80::1%eth0]:80", "localhost"),
    ],
)
def test_a_request_without_a_host_names_the_server(server: str, host: str) -> None:
    world = World(backends=(Backend("app", (server,)),))
    client = world.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    (end,) = world.servers
    assert f"\r\nhost: {host}\r\n" in end.text
    end.send(OK)
    assert client.text.endswith("hello")
    assert [(record.end, record.status) for record in world.records] == [("complete", 200)]
