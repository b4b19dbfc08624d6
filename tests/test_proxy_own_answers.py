"""What lockgate's own answers say of themselves."""

from __future__ import annotations

import hpack
import pytest
from support_h2_wire import ACK, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS
from support_proxy import World, head

from lockgate.core.proxy.policy import ForwardRules, Listener


def test_connect_is_told_which_methods_there_are() -> None:
    """RFC 9110 section 15.5.6: a 405 has Allow; empty, as nothing can be done with the target of CONNECT here."""
    client = World().client()
    client.send(b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n")
    assert client.text.startswith("HTTP/1.1 405 ")
    assert "\r\nallow: \r\n" in client.text


def test_so_it_is_over_http_2() -> None:
    client = World().client(Listener("plain", tls=False, h2c=True))

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    section = hpack.Encoder().encode([(":method", "CONNECT"), (":authority", "b:80")])
    client.send(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, ACK, 0, b""))
    client.pop()
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, section))
    received = client.received
    assert received[3] == HEADERS
    fields = hpack.Decoder().decode(received[9 : 9 + int.from_bytes(received[:3], "big")])
    assert (":status", "405") in fields
    assert ("allow", "") in fields


@pytest.mark.parametrize(
    ("text", "forward"),
    [
        ("GET /%00 HTTP/1.1\nHost: a", None),
        ("GET /../x HTTP/1.1\nHost: a", None),
        ("GET / HTTP/1.1\nHost: a\nX_Y: 1", ForwardRules(underscore_fields="refuse")),
        ("GET / HTTP/1.1\nHost: a\nVia: 1.1 lockgate", ForwardRules(via=True)),
        ("GET /\x00 HTTP/1.1\nHost: a", None),
    ],
)
def test_the_text_of_a_refusal_is_said_to_be_text(text: str, forward: ForwardRules | None) -> None:
    """RFC 9110 section 8.3; else a browser guesses."""
    client = World(forward=forward).client()
    client.send(head(text))
    assert client.text.startswith("HTTP/1.1 4")
    assert "\r\ncontent-type: text/plain" in client.text
