"""One test, or a few, for each row of the threat list that HTTP/1.1 framing has to meet; requests and responses.

The tables in tests/vectors hold the single cases; what is here states each attack as a whole. The rule behind all: a
message is taken in one way or refused, with an error answer and a close, and nothing after it is read.
"""

from __future__ import annotations

from itertools import product

import pytest
from support_h1 import GET, Driver, ask, asking, fault_of, random_pieces, serve, splits, whole

from lockgate.core.errors import LocalProtocolError, RemoteProtocolError
from lockgate.core.events import PAUSED, Data, EndOfMessage, InformationalResponse, Request, Response, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.h1.states import State
from lockgate.core.http.headers import Headers
from lockgate.core.http.path import normalise
from lockgate.core.limits import Limits

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def refused(data: bytes) -> bool:
    """Is it refused with an answer and a close, however it is cut, and nothing after it looked at?"""
    for pieces in splits(data):
        driver = Driver(H1Connection(Role.SERVER), answer=True)
        transcript = driver.feed(pieces)
        if fault_of(transcript) is None:
            return False
        assert b"connection: close\r\n" in driver.sent
        assert driver.connection.their_state is State.ERROR
        assert not driver.connection.reusable
        assert not any(entry[0] == "request" and entry[2] == b"/smuggled" for entry in transcript)
    return True


# CL + TE together, TE on HTTP/1.0


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_content_length_with_transfer_encoding(version: bytes) -> None:
    lengths = [b"Content-Length: 0", b"Content-Length: 5", b"content-length:44", b"Content-Length: x"]
    codings = [
        b"Transfer-Encoding: chunked",
        b"TRANSFER-ENCODING:CHUNKED",
        b"Transfer-Encoding: x",
        b"Transfer-Encoding:",
    ]
    for length, coding in product(lengths, codings):
        for first, second in ((length, coding), (coding, length)):
            head = b"POST / HTTP/%b\r\nHost: a\r\n%b\r\n%b\r\n\r\n" % (version, first, second)
            assert refused(head + b"0\r\n\r\n" + SMUGGLED)


def test_transfer_encoding_in_http_1_0() -> None:
    for keep in (b"", b"Connection: keep-alive\r\n"):
        head = b"POST / HTTP/1.0\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\n" % keep
        assert refused(head + b"0\r\n\r\n" + SMUGGLED)


# Unknown, duplicate or obfuscated TE


def test_transfer_encoding_is_chunked_or_refused() -> None:
    for before, after in product(
        [b"", b" ", b"\t", b"\x0b", b"\x0c", b"\x00", b"\xa0", b",", b"x", b'"', b";"], repeat=2
    ):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:%bchunked%b\r\n\r\n" % (before, after)
        if before in (b"", b" ", b"\t") and after in (b"", b" ", b"\t"):
            assert not refused(head + b"0\r\n\r\n")
        else:
            assert refused(head + b"0\r\n\r\n" + SMUGGLED)


def test_no_second_transfer_encoding() -> None:
    for other in (b"chunked", b"identity", b"x", b""):
        for pair in ((b"chunked", other), (other, b"chunked")):
            lines = b"".join(b"Transfer-Encoding: %b\r\n" % value for value in pair)
            assert refused(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n0\r\n\r\n" % lines + SMUGGLED)


# CL lists, signs, 0x, _, blank, overflow


def test_content_length_is_digits_or_refused() -> None:
    for byte in range(256):
        for value in (b"%c5" % byte, b"5%c" % byte, b"1%c5" % byte):
            head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % value
            plain = value.strip(b" \t")
            if plain.isdigit():
                transcript = serve([head])
                assert transcript[0][5] == int(plain)
            else:
                assert fault_of(serve([head + b"x" * 50])) is not None


def test_content_length_at_the_border_of_63_bits() -> None:
    for number in (2**31, 2**32, 2**53, 2**63 - 1):
        assert serve([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % number])[0][5] == number
    for number in (2**63, 2**64, 2**64 + 5, 10**30):
        assert refused(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nhello" % number + SMUGGLED)


# 0.CL, Expect, early response


def test_a_smuggled_request_is_body_after_an_early_answer() -> None:
    body = SMUGGLED
    server = H1Connection(Role.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
    server.next_event()
    server.send(Response(200, body_length=0))
    server.send(EndOfMessage())
    with pytest.raises(LocalProtocolError):
        server.start_next_cycle()
    server.receive_data(body)
    assert [server.next_event() for _ in range(3)] == [Data(body), EndOfMessage(), PAUSED]


def test_expect_is_100_continue_or_refused() -> None:
    for value in (b"100-continuex", b"x 100-continue", b"100-continue, 100-continue", b"200", b"", b"100_continue"):
        assert refused(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: %b\r\nContent-Length: 1\r\n\r\nx" % value + SMUGGLED)


def test_a_final_answer_to_expect_ends_the_connection() -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n")
    server.next_event()
    server.send(Response(403, body_length=0))
    server.send(EndOfMessage())
    assert b"connection: close\r\n" in server.data_to_send()
    assert not server.reusable


# Chunk tricks


def test_every_byte_of_chunked_framing_counts() -> None:
    body = b"5;a=b\r\nhello\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n"
    content = {*range(7, 12), 17}
    for at in range(len(body)):
        for byte in b"\r\n\0 ;x0\x80":
            changed = body[:at] + bytes((byte,)) + body[at + 1 :]
            transcript = serve([CHUNKED + changed + GET])
            if fault_of(transcript) is not None or at in content:
                continue
            # What still passes has the same content and nothing more, or waits for more of a longer chunk.
            data = b"".join(entry[1] for entry in transcript if entry[0] == "data")
            assert data in (b"hellox", b"hello"), (at, byte)


def test_chunk_framing_is_refused_at_every_cut() -> None:
    for body in (
        b"1\nx\r\n", b"1\r\nx\n", b"1\r\nxAB0\r\n\r\n", b"1;a\nb\r\nx\r\n", b'1;a="\r\n"\r\n', b"0_2e\r\n",
        b"1\r\nx\r\n\r\n",
    ):  # fmt: skip
        assert refused(CHUNKED + body + SMUGGLED)
    for size in (
        b"8000000000000000",
        b"ffffffffffffffff",
        b"10000000000000000",
        b"00000000000000001",
        b"-1",
        b"0x1",
        b"",
    ):
        assert refused(CHUNKED + size + b"\r\n" + SMUGGLED)


def test_chunk_extensions_are_bounded_and_dropped() -> None:
    limit = Limits().max_chunk_extension
    assert refused(CHUNKED + b"1;" + b"a" * limit + b"\r\nx\r\n0\r\n\r\n")
    server = H1Connection(Role.SERVER)
    server.receive_data(CHUNKED + b"1;" + b"a" * (limit - 1) + b"\r\nx\r\n0\r\n\r\n")
    assert isinstance(server.next_event(), Request)
    assert [server.next_event() for _ in range(2)] == [Data(b"x"), EndOfMessage()]


def test_forwarded_chunks_are_new_ones() -> None:
    client = H1Connection(Role.CLIENT)
    server = H1Connection(Role.SERVER)
    server.receive_data(CHUNKED + b"0001;ext=1\r\nx\r\n000;y\r\nContent-Length: 3\r\n\r\n")
    while isinstance(event := server.next_event(), Request | Data | EndOfMessage):
        client.send(event)
    wire = client.data_to_send()
    assert wire == b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"


# Bare CR, LF, NUL, obs-fold; white space that is none


def test_control_characters_anywhere_in_a_head() -> None:
    head = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n"
    for byte in (b"\r", b"\n", b"\0", b"\x0b", b"\x0c", b"\x1f", b"\x7f"):
        for at in range(1, len(head) - 4):
            if head[at - 1 : at + 1] == b"\r\n" and byte == b"\r":
                continue  # "\r\r\n": the next position has it too
            assert fault_of(serve([head[:at] + byte + head[at:]])) is not None, (byte, at)


def test_only_space_and_tab_are_trimmed() -> None:
    for byte in (b"\x85", b"\xa0"):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: %bb%b\r\n\r\n" % (byte, byte)
        assert serve([head])[0][4] == [(b"x", byte + b"b" + byte)]


def test_folded_lines() -> None:
    for fold in (b" ", b"\t", b" \t "):
        assert refused(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n%bz: w\r\n\r\n" % fold + SMUGGLED)
        assert refused(b"GET / HTTP/1.1\r\n%bHost: a\r\n\r\n" % fold + SMUGGLED)


# Space before the colon, empty name, no colon, leading space


def test_crooked_fields() -> None:
    for line in (
        b"X : y",
        b"X\t: y",
        b": y",
        b":",
        b"X",
        b" X: y",
        b"X Y: z",
        b"X\xa0: y",
        b"(X): y",
        b"Host : a",
        b"\x00: y",
    ):
        assert refused(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line + SMUGGLED)
    assert refused(b" GET / HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED)


# Host


def test_host_is_one_and_plain() -> None:
    for hosts in (
        [],
        [b"a", b"a"],
        [b"a", b"b"],
        [b"a, b"],
        [b"a,b"],
        [b"u@a"],
        [b"a/b"],
        [b""],
        [b"a:99999"],
        [b"a b"],
    ):
        fields = b"".join(b"Host: %b\r\n" % host for host in hosts)
        for target in (b"/", b"http://c/"):
            assert refused(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields) + SMUGGLED)


def test_absolute_form_rewrites_host() -> None:
    transcript = serve([b"GET http://b:8080/x HTTP/1.1\r\nHost: a\r\n\r\n"])
    assert transcript[0][2:4] == [b"/x", b"b:8080"]
    assert not any(name == b"host" for name, _ in transcript[0][4])
    for target in (b"http://u@b/", b"http://b,c/", b"//b@c", b"http://", b"ftp://b/", b"HTTP:/b", b"http://b\\@c/"):
        if target.startswith(b"//"):
            continue
        assert refused(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target + SMUGGLED)


# Premature tunnel


def test_bytes_after_an_upgrade_wait_for_the_answer() -> None:
    offer = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    for status in (200, 400, 101):
        server = H1Connection(Role.SERVER)
        server.receive_data(offer + SMUGGLED)
        server.next_event()
        server.next_event()
        assert server.next_event() is PAUSED
        if status == 101:
            server.send(Response(101, upgrade=b"websocket"))
            assert server.next_event() == Data(SMUGGLED)
        else:
            server.send(Response(status, body_length=0))
            server.send(EndOfMessage())
            server.start_next_cycle()
            event = server.next_event()
            assert isinstance(event, Request)
            assert event.target == b"/smuggled"


def test_h2c_is_never_offered_on() -> None:
    for value in (b"h2c", b"H2C", b"h2c, h2c", b" h2c ,"):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: A\r\n\r\n"
        request = serve([head % value])[0]
        assert request[7] is None
        assert request[4] == []


def test_connect_is_not_served() -> None:
    for target in (b"a:443", b"/", b"http://a/"):
        assert serve([b"CONNECT %b HTTP/1.1\r\nHost: a\r\n\r\n" % target + SMUGGLED]) == [
            ["fault", "METHOD_NOT_ALLOWED"]
        ]


# Connection: X-Forwarded-For


def test_connection_does_not_remove_what_others_rely_on() -> None:
    names = [
        b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port", b"Forwarded", b"Via", b"X-Real-IP",
        b"X-Request-Id", b"Client-Cert", b"Client-Cert-Chain", b"X-Forwarded-Client-Cert", b"Cookie", b"Authorization",
        b"X_Forwarded_For", b"Content-Type", b"X-SSL-Client-Cert",
    ]  # fmt: skip
    for name in names:
        head = b"GET / HTTP/1.1\r\nHost: a\r\n%b: v\r\nConnection: close, %b\r\n\r\n" % (name, name)
        assert serve([head])[0][4] == [(name.lower(), b"v")]
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: Host, Content-Length, Transfer-Encoding\r\n\r\nx"
    assert serve([head])[0][3:6] == [b"a", [(b"content-length", b"1")], 1]


def test_what_belongs_to_the_connection_is_not_handed_on() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\nProxy: http://evil\r\nTE: x\r\n\r\n"
    assert serve([head])[0][4] == []


def test_trailers_cannot_forge_what_a_head_says() -> None:
    names = [
        b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"TE", b"Trailer", b"Authorization", b"Cookie",
        b"Set-Cookie", b"X-Forwarded-For", b"x_forwarded_for", b"Forwarded", b"Client-Cert", b"X-Real-IP", b"X-Request-Id",
    ]  # fmt: skip
    fields = b"".join(b"%b: v\r\n" % name for name in names)
    assert serve([CHUNKED + b"0\r\n" + fields + b"X-Sum: 1\r\n\r\n"])[1] == ["end", [(b"x-sum", b"1")]]
    for name in names:
        server = H1Connection(Role.SERVER)
        server.receive_data(GET)
        server.next_event()
        server.send(Response(200))
        with pytest.raises(LocalProtocolError):
            server.send(EndOfMessage(Headers([(name, b"v")])))


# Path tricks


def test_a_path_has_one_spelling() -> None:
    for spelling in (
        b"/admin",
        b"//admin",
        b"/./admin",
        b"/x/../admin",
        b"/%61dmin",
        b"/x/%2e%2e/admin",
        b"/admin?/../x",
    ):
        assert normalise(spelling).partition(b"?")[0] == b"/admin"
    for trick in (
        b"/..;/admin",
        b"/x/..%2fadmin",
        b"/x%2f..%2fadmin",
        b"/admin%00",
        b"/\\admin",
        b"/%5cadmin",
        b"/.;/admin",
    ):
        with pytest.raises(RemoteProtocolError):
            normalise(trick)


# Sizes


def test_heads_are_bounded_while_incomplete() -> None:
    limits = Limits()
    for data, fault in (
        (b"GET /" + b"a" * 70000, "TARGET_TOO_LONG"),
        (b"a" * 70000, "TARGET_TOO_LONG"),
        (GET[:-2] + b"X: " + b"a" * 70000, "HEADERS_TOO_LARGE"),
        (GET[:-2] + b"X: a\r\n" * 200, "HEADERS_TOO_LARGE"),
        (CHUNKED + b"0\r\n" + b"X: a\r\n" * 200, "HEADERS_TOO_LARGE"),
        (CHUNKED + b"0\r\nX: " + b"a" * 70000, "HEADERS_TOO_LARGE"),
    ):
        server = H1Connection(Role.SERVER, limits=limits)
        driver = Driver(server)
        for piece in random_pieces(data, 3):
            server.receive_data(piece)
            driver.drain()
            assert server.buffered <= limits.max_head + 100
        assert fault_of(driver.transcript) == fault


def test_list_fields_are_bounded() -> None:
    for name in (b"Connection", b"TE", b"Connection: upgrade\r\nUpgrade"):
        assert refused(b"GET / HTTP/1.1\r\nHost: a\r\n%b: %b\r\n\r\n" % (name, b"a," * 1000))


# Responses: smuggled, split, stormy, truncated


def test_a_response_is_as_strict_as_a_request() -> None:
    for lines in (
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"], [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: +5"], [b"Content-Length: 5, 5"], [b"Transfer-Encoding: x"], [b"Transfer-Encoding: chunked, chunked"],
        [b"X : y"], [b"X: y\nZ: w"], [b"X: y\rZ: w"], [b"X: \0"], [b" X: y"], [b"X: y", b" z"], [b": y"], [b"X"],
    ):  # fmt: skip
        data = b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\nhello" + OK
        for pieces in splits(data):
            assert fault_of(ask(pieces)) is not None, lines


def test_bytes_after_a_response_poison_the_connection() -> None:
    client = asking()
    client.receive_data(OK + OK)
    assert isinstance(client.next_event(), Response)
    assert client.next_event() == EndOfMessage()
    assert not client.reusable
    with pytest.raises(LocalProtocolError):
        client.start_next_cycle()


def test_a_response_that_nobody_asked_for() -> None:
    client = asking()
    client.receive_data(OK)
    Driver(client).drain()
    client.start_next_cycle()
    client.receive_data(OK)
    assert not client.reusable
    with pytest.raises(LocalProtocolError):
        client.send(Request(b"GET", b"/", b"a"))
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_interim_responses_are_bounded() -> None:
    storm = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100
    transcript = ask(whole(storm))
    assert len(transcript) == Limits().max_interim_responses + 1
    assert fault_of(transcript) == "MALFORMED"


def test_the_bound_of_interim_responses_is_for_each_exchange() -> None:
    client = asking()
    for _ in range(5):
        client.receive_data(b"HTTP/1.1 102 x\r\n\r\n" * 16 + OK)
        driver = Driver(client)
        driver.drain()
        assert not driver.failed
        client.start_next_cycle()
        client.send(Request(b"GET", b"/", b"a"))
        client.send(EndOfMessage())


def test_a_cut_response_is_never_complete() -> None:
    for data in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    ):
        assert ask([data], eof=True)[-1][0] == "end"
        for cut in range(len(data)):
            assert fault_of(ask([data[:cut]] if cut else [], eof=True)) == "TRUNCATED"


def test_a_cut_request_is_never_complete() -> None:
    data = CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for cut in range(1, len(data)):
        assert fault_of(serve([data[:cut]], eof=True)) == "TRUNCATED"


def test_a_switch_that_was_not_offered() -> None:
    switch = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n"
    assert fault_of(ask([switch % b"websocket"])) == "MALFORMED"
    for protocol in (b"h2c", b"websocket2", b"websocket, h2c", b""):
        assert fault_of(ask([switch % protocol], Request(b"GET", b"/", b"a", upgrade=b"websocket"))) == "MALFORMED"


def test_no_field_can_split_what_we_send() -> None:
    for name, value in (
        (b"a", b"b\r\n\r\n" + SMUGGLED),
        (b"a\r\nb", b"c"),
        (b"a", b"b\nc: d"),
        (b"a", b"\r"),
        (b"a:b", b"c"),
    ):
        headers = Headers([(name, value)])
        server = H1Connection(Role.SERVER)
        server.receive_data(GET)
        server.next_event()
        for event in (Response(200, headers), InformationalResponse(103, headers)):
            with pytest.raises(LocalProtocolError):
                server.send(event)
        with pytest.raises(LocalProtocolError):
            H1Connection(Role.CLIENT).send(Request(b"GET", b"/", b"a", headers))
        assert server.data_to_send() == b""
