"""The ClientHello reader: what real clients send is read, what does not add up is refused, however it is cut."""

from __future__ import annotations

import random
from itertools import pairwise
from types import ModuleType

import pytest
import support_tls
from hypothesis import given, settings
from hypothesis import strategies as st
from support_tls import alpn, extension, hello_message, records, server_name, u16, with_length
from support_twin import interpreted

from lockgate.core.tls import hello as hello_module
from lockgate.core.tls.hello import ClientHello, ClientHelloReader, hello_records, parse_client_hello

LIMIT = 65536


SNI = server_name(b"example.test")
VERSIONS = extension(43, with_length(u16(0x0304) + u16(0x0303), 1))
GROUPS = extension(10, with_length(u16(29) + u16(23)))
ALGORITHMS = extension(13, with_length(u16(0x0403) + u16(0x0804)))


GOOD = hello_message(SNI, VERSIONS, GROUPS, ALGORITHMS, alpn(b"h2", b"http/1.1"))


INTERPRETED = interpreted("core.tls.hello")


def read(parts: list[bytes], limit: int = LIMIT, module: ModuleType = hello_module) -> tuple[str, object]:
    """Feed the parts; what came of it, in a form that can be compared."""
    reader = module.ClientHelloReader(limit)
    for part in parts:
        reader.receive_data(part)
        try:
            hello = reader.next_hello()
        except module.TLSError as error:
            return error.reason, error.alert
        if hello is not None:
            return "hello", hello
    return "more", None


def fields(outcome: tuple[str, object]) -> tuple[object, ...]:
    """An outcome with the hello taken apart, so that compiled and interpreted classes can be compared."""
    name, found = outcome
    if name == "hello":
        return (name, *(getattr(found, field) for field in FIELDS))
    return outcome


FIELDS = (
    "raw", "legacy_version", "versions", "cipher_suites", "sni", "alpn", "groups", "signature_algorithms", "extensions",
)  # fmt: skip


def three_ways(data: bytes, limit: int = LIMIT) -> tuple[str, object]:
    """Read whole, byte by byte and cut at random: the outcome has to be the same."""
    whole = read([data], limit)
    assert read(support_tls.pieces(data, 1), limit) == whole
    cutter = random.Random(len(data))
    parts, rest = [], data
    while rest:
        size = cutter.randint(1, 40)
        parts.append(rest[:size])
        rest = rest[size:]
    assert read(parts, limit) == whole
    assert fields(read([data], limit, INTERPRETED)) == fields(whole)
    return whole


class TestGoodHellos:
    def test_all_fields(self) -> None:
        outcome, hello = three_ways(records(GOOD))
        assert outcome == "hello"
        assert isinstance(hello, ClientHello)
        assert hello.raw == GOOD
        assert hello.legacy_version == 0x0303
        assert hello.versions == (0x0304, 0x0303)
        assert hello.cipher_suites == (0x1301, 0xC02B)
        assert hello.sni == "example.test"
        assert hello.alpn == (b"h2", b"http/1.1")
        assert hello.groups == (29, 23)
        assert hello.signature_algorithms == (0x0403, 0x0804)
        assert hello.extensions == (0, 43, 10, 13, 16)

    def test_without_extensions(self) -> None:
        outcome, hello = three_ways(records(hello_message(session_id=b"")))
        assert outcome == "hello"
        assert isinstance(hello, ClientHello)
        assert (hello.sni, hello.alpn, hello.versions, hello.extensions) == ("", (), (0x0303,), ())

    def test_empty_block_of_extensions(self) -> None:
        assert three_ways(records(hello_message(tail=b"\0\0")))[0] == "hello"

    def test_unknown_extensions_and_grease_are_kept(self) -> None:
        message = hello_message(extension(0x0A0A, b""), extension(0xFFEE, b"abc"), SNI)
        assert parse_client_hello(message).extensions == (0x0A0A, 0xFFEE, 0)

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 37, 100])
    def test_any_fragment_size(self, size: int) -> None:
        outcome, hello = three_ways(records(GOOD, size))
        assert outcome == "hello"
        assert isinstance(hello, ClientHello)
        assert hello.raw == GOOD

    def test_larger_than_a_record(self) -> None:
        message = hello_message(SNI, extension(21, bytes(40000)))
        outcome, hello = read([records(message)])
        assert outcome == "hello"
        assert isinstance(hello, ClientHello)
        assert read([hello_records(hello)]) == ("hello", hello)

    def test_what_follows_is_left(self) -> None:
        reader = ClientHelloReader(LIMIT)
        following = b"\x14\x03\x03\0\x01\x01"
        reader.receive_data(records(GOOD, 50) + following)
        assert reader.next_hello() is not None
        assert reader.stored == following
        assert reader.records == records(GOOD, 50)

    @given(st.integers(1, 300), st.lists(st.integers(0, 600)), st.binary(max_size=40))
    def test_the_records_are_kept_as_they_came(self, size: int, cuts: list[int], behind: bytes) -> None:
        data = records(GOOD, size) + behind
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        reader = ClientHelloReader(LIMIT)
        hello = None
        for start, end in pairwise(edges):
            reader.receive_data(data[start:end])
            hello = hello or reader.next_hello()
        assert hello is not None
        assert bytes(reader.records) == records(GOOD, size)
        assert reader.stored == behind

    @pytest.mark.parametrize("name", [b"a", b"EXAMPLE.Test", b"xn--nxasmq6b.test", b"_acme.a-b.test", b"1.2.3.4.test"])
    def test_names(self, name: bytes) -> None:
        assert parse_client_hello(hello_message(server_name(name))).sni == name.decode().lower()

    @pytest.mark.parametrize("address", [b"127.0.0.1", b"::1", b"2001:DB8::1"])
    def test_an_address_is_no_name(self, address: bytes) -> None:
        assert parse_client_hello(hello_message(server_name(address))).sni == ""

    def test_standard_library(self) -> None:
        client = support_tls.SSLPeer(
            support_tls.ssl_client_context(alpn=("h2", "http/1.1")), server_name="Example.test"
        )
        outcome, hello = three_ways(client.data_to_send())
        assert outcome == "hello"
        assert isinstance(hello, ClientHello)
        assert hello.sni == "example.test"
        assert hello.alpn == (b"h2", b"http/1.1")
        assert 0x0304 in hello.versions

    def test_repr_has_no_random(self) -> None:
        assert repr(parse_client_hello(GOOD)) == (
            f"<ClientHello sni='example.test' alpn=(b'h2', b'http/1.1') of {len(GOOD)} bytes>"
        )


def cut(message: bytes, count: int) -> bytes:
    """Take bytes from the end, with the length of the message made to fit."""
    return b"\x01" + with_length(message[4 : len(message) - count], 3)


BAD_MESSAGES = {
    "empty": (b"\x01\0\0\0", "decode_error", 50),
    "version of SSL 2": (hello_message(version=0x0200), "protocol_version", 70),
    "session id of 33 bytes": (hello_message(SNI, session_id=bytes(33)), "decode_error", 50),
    "no ciphers": (hello_message(SNI, ciphers=b""), "decode_error", 50),
    "half a cipher": (hello_message(SNI, ciphers=b"\x13\x01\x13"), "decode_error", 50),
    "no compression method": (hello_message(SNI, compression=b""), "decode_error", 50),
    "only real compression": (hello_message(SNI, compression=b"\x01"), "illegal_parameter", 47),
    "byte after the compression": (hello_message(tail=b"\0"), "decode_error", 50),
    "extensions too short": (hello_message(tail=u16(3) + extension(5, b"")), "decode_error", 50),
    "extensions too long": (hello_message(tail=u16(5) + extension(5, b"")), "decode_error", 50),
    "extension past the end": (hello_message(u16(5) + u16(1)), "decode_error", 50),
    "half a header of an extension": (hello_message(extension(5, b""), b"\0\x07\0"), "decode_error", 50),
    "extension twice": (hello_message(SNI, SNI), "illegal_parameter", 47),
    "unknown extension twice": (hello_message(extension(999, b""), extension(999, b"")), "illegal_parameter", 47),
    "something after pre_shared_key": (hello_message(extension(41, b""), SNI), "illegal_parameter", 47),
    "empty server name extension": (hello_message(extension(0, b"")), "decode_error", 50),
    "empty list of names": (hello_message(extension(0, b"\0\0")), "decode_error", 50),
    "empty name": (hello_message(server_name(b"")), "decode_error", 50),
    "unknown type of name": (hello_message(server_name(b"a.test", 1)), "decode_error", 50),
    "two names": (
        hello_message(extension(0, with_length((b"\0" + with_length(b"a.test")) * 2))), "decode_error", 50,
    ),
    "list of names too long": (hello_message(extension(0, u16(9) + b"\0" + with_length(b"a"))), "decode_error", 50),
    "name too long for its list": (hello_message(extension(0, with_length(b"\0" + u16(9) + b"a"))), "decode_error", 50),
    "NUL in the name": (hello_message(server_name(b"a\0b.test")), "bad_server_name", 47),
    "not ASCII": (hello_message(server_name("ü.test".encode())), "bad_server_name", 47),
    "two dots at the end": (hello_message(server_name(b"a.test..")), "bad_server_name", 47),
    "only a dot": (hello_message(server_name(b".")), "bad_server_name", 47),
    "dot at the start": (hello_message(server_name(b".a.test")), "bad_server_name", 47),
    "two dots": (hello_message(server_name(b"a..test")), "bad_server_name", 47),
    "a number as last label": (hello_message(server_name(b"a.1")), "bad_server_name", 47),
    "a port behind an address": (hello_message(server_name(b"127.0.0.1/80")), "bad_server_name", 47),
    "wildcard": (hello_message(server_name(b"*.test")), "bad_server_name", 47),
    "port": (hello_message(server_name(b"a.test:443")), "bad_server_name", 47),
    "space": (hello_message(server_name(b"a b.test")), "bad_server_name", 47),
    "254 bytes of name": (hello_message(server_name(b"a." * 126 + b"aa")), "bad_server_name", 47),
    "empty ALPN extension": (hello_message(extension(16, b"")), "decode_error", 50),
    "empty ALPN list": (hello_message(extension(16, b"\0\0")), "decode_error", 50),
    "empty protocol": (hello_message(alpn(b"h2", b"")), "decode_error", 50),
    "protocol past the end": (hello_message(extension(16, with_length(b"\x09h2"))), "decode_error", 50),
    "half a group": (hello_message(extension(10, with_length(b"\0\x1d\0"))), "decode_error", 50),
    "no groups": (hello_message(extension(10, b"\0\0")), "decode_error", 50),
    "no signature algorithms": (hello_message(extension(13, b"")), "decode_error", 50),
    "no versions": (hello_message(extension(43, b"\0")), "decode_error", 50),
    "empty versions extension": (hello_message(extension(43, b"")), "decode_error", 50),
    "half a version": (hello_message(extension(43, b"\x03\x03\x04\x03")), "decode_error", 50),
    "versions too long": (hello_message(extension(43, b"\x04\x03\x04")), "decode_error", 50),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_bad_messages(name: str) -> None:
    message, reason, alert = BAD_MESSAGES[name]
    assert three_ways(records(message)) == (reason, alert)


def test_253_bytes_of_name_are_allowed() -> None:
    assert three_ways(records(hello_message(server_name(b"a." * 126 + b"a"))))[0] == "hello"


BAD_STREAMS = {
    "rubbish": (b"\x00\x01\x02", "not_tls", 10),
    "rubbish with a high bit": (b"\xff\xff\xff", "not_tls", 10),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls", 10),
    "SMTP": (b"EHLO client.test\r\n", "not_tls", 10),
    "lower case": (b"get / HTTP/1.1\r\n", "not_tls", 10),
    "SSLv2": (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", "sslv2_hello", 70),
    "SSLv2 offering TLS": (b"\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10", "sslv2_hello", 70),
    "application data": (b"\x17\x03\x03\0\x01a", "unexpected_message", 10),
    "alert": (b"\x15\x03\x03\0\x02\x02\x28", "unexpected_message", 10),
    "change_cipher_spec": (b"\x14\x03\x03\0\x01\x01", "unexpected_message", 10),
    "record of SSL 2": (b"\x16\x02\x00\0\x01\x01", "protocol_version", 70),
    "empty record": (b"\x16\x03\x01\0\0", "unexpected_message", 10),
    "record too large": (b"\x16\x03\x01\x40\x01", "record_overflow", 22),
    "ServerHello": (records(b"\x02" + GOOD[1:]), "unexpected_message", 10),
    "alert between fragments": (records(GOOD[:9]) + b"\x15\x03\x03\0\x02\x01\0", "unexpected_message", 10),
    "empty record between fragments": (records(GOOD[:9]) + b"\x16\x03\x01\0\0", "unexpected_message", 10),
    "more in the same record": (records(GOOD + b"\x10"), "bytes_after_client_hello", 10),
    "two hellos in one record": (records(GOOD + GOOD), "bytes_after_client_hello", 10),
    "64 KiB and more": (records(b"\x01" + (LIMIT - 3).to_bytes(3, "big")), "client_hello_too_large", 47),
    "16 MiB": (records(b"\x01\xff\xff\xff"), "client_hello_too_large", 47),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_bad_streams(name: str) -> None:
    data, reason, alert = BAD_STREAMS[name]
    assert three_ways(data) == (reason, alert)


def test_the_largest_hello() -> None:
    overhead = len(hello_message(extension(21, b"")))
    largest = hello_message(extension(21, bytes(1000 - overhead)))
    assert len(largest) == 1000
    assert three_ways(records(largest), 1000)[0] == "hello"
    assert three_ways(records(largest), 999) == ("client_hello_too_large", 47)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"PRI", b"OPTIONS", b"CONNECT"])
def test_plain_http(method: bytes) -> None:
    assert three_ways(method + b" / HTTP/1.1\r\n\r\n") == ("plain_http", None)
    assert three_ways(method) == ("more", None)


def test_what_is_stored_is_bounded() -> None:
    """Also when nobody reads."""
    reader = ClientHelloReader(1000)
    reader.receive_data(b"\x16")
    for _ in range(1000):
        reader.receive_data(bytes(1000))
    assert len(reader.stored) < 30_000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutations(data: st.DataObject) -> None:
    """Whatever is done to a good hello, the outcome is a hello or a TLSError, and the same under any split."""
    stream = bytearray(records(GOOD, data.draw(st.sampled_from([16384, 100, 7]))))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(stream) - 1))
        match data.draw(st.sampled_from(["set", "insert", "delete"])):
            case "set":
                stream[position] = data.draw(st.integers(0, 255))
            case "insert":
                stream[position:position] = data.draw(st.binary(max_size=5))
            case _ if len(stream) > 20:
                del stream[position : position + data.draw(st.integers(1, 5))]
    whole = read([bytes(stream)])
    assert read(support_tls.pieces(bytes(stream), 1)) == whole
    assert read(support_tls.pieces(bytes(stream), data.draw(st.integers(2, 60)))) == whole
    assert fields(read([bytes(stream)], module=INTERPRETED)) == fields(whole)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_message(body: bytes) -> None:
    """No bytes make the parser fail in another way than with a TLSError that names an alert."""
    assert read([records(b"\x01" + with_length(body, 3))])[1] in (47, 50, 70)
