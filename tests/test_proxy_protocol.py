"""PROXY headers of both versions, read and written by themselves (HAProxy's "The PROXY protocol, versions 1 & 2")."""

from __future__ import annotations

from ipaddress import ip_address
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lockgate.core.errors import Fault, LocalProtocolError, RemoteProtocolError
from lockgate.core.proxy_protocol.format import (
    ALPN,
    AUTHORITY,
    CRC32C,
    MAX_BLOCK,
    MAX_VECTORS,
    NOOP,
    SIGNATURE,
    TLS,
    UNIQUE_ID,
    ProxyHeader,
    crc32c,
)
from lockgate.core.proxy_protocol.reader import ProxyHeaderReader
from lockgate.core.proxy_protocol.writer import ClientTLS, proxy_v1, proxy_v2, vector

V4 = pack("!4s4sHH", bytes((192, 0, 2, 1)), bytes((198, 51, 100, 2)), 4711, 443)
V6 = bytes.fromhex("20010db8000000000000000000000001" + "20010db8000000000000000000000002") + pack("!HH", 4711, 443)
CLIENT, SERVER = ("192.0.2.1", 4711), ("198.51.100.2", 443)


def block(payload: bytes, command: int = 0x21, family: int = 0x11, size: int | None = None) -> bytes:
    return SIGNATURE + pack("!BBH", command, family, len(payload) if size is None else size) + payload


def read(data: bytes) -> tuple[ProxyHeader | None, bytes]:
    reader = ProxyHeaderReader()
    reader.receive_data(data)
    return reader.next_header(), reader.trailing_data


def stays(reader: ProxyHeaderReader, error: RemoteProtocolError) -> str:
    """The text of an error, which is raised again whatever comes, and for which nothing is kept."""
    assert error.fault is Fault.MALFORMED
    reader.receive_data(proxy_v1(CLIENT, SERVER))
    with pytest.raises(RemoteProtocolError) as again:
        reader.next_header()
    assert again.value is error
    assert reader.buffered == 0
    return str(error)


def outcome(*pieces: bytes) -> tuple[object, ...]:
    """What comes of these pieces: header and rest, an error, or nothing yet."""
    reader = ProxyHeaderReader()
    for piece in pieces:
        reader.receive_data(piece)
        try:
            reader.next_header()
        except RemoteProtocolError as error:
            return ("error", stays(reader, error))
    header = reader.next_header()
    assert header is not None or reader.buffered < 16 + MAX_BLOCK
    return (header, reader.trailing_data)


# -- version 1 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"TCP4 192.0.2.1 198.51.100.2 4711 443", CLIENT, SERVER),
        (b"TCP4 255.255.255.255 255.255.255.255 65535 65535", ("255.255.255.255", 65535), ("255.255.255.255", 65535)),
        (b"TCP4 0.0.0.0 0.0.0.0 0 0", ("0.0.0.0", 0), ("0.0.0.0", 0)),
        (b"TCP6 2001:db8::1 2001:DB8:0::2 4711 443", ("2001:db8::1", 4711), ("2001:db8::2", 443)),
        (b"TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2", ("192.0.2.1", 1), ("2001:db8::2", 2)),
        (b"TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535", ("ffff:" * 7 + "ffff", 65535), None),
        (b"UNKNOWN", None, None),
        (b"UNKNOWN ", None, None),
        (b"UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535", None, None),
        (b"UNKNOWN \xff\0 anything", None, None),
    ],
)
def test_lines_of_version_1(line: bytes, source: object, destination: object) -> None:
    header, rest = read(b"PROXY " + line + b"\r\nGET /")
    assert header is not None
    assert (header.version, header.local, header.source, rest) == (1, False, source, b"GET /")
    if destination is not None:
        assert header.destination == destination


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" TCP4 192.0.2.1 198.51.100.2 4711 443",
        b"TCP4  192.0.2.1 198.51.100.2 4711 443",
        b"TCP4 192.0.2.1 198.51.100.2 4711 443 ",
        b"TCP4 192.0.2.1 198.51.100.2 4711",
        b"TCP4 192.0.2.1 198.51.100.2 4711 443 1",
        b"TCP4\t192.0.2.1 198.51.100.2 4711 443",
        b"tcp4 192.0.2.1 198.51.100.2 4711 443",
        b"TCP5 192.0.2.1 198.51.100.2 4711 443",
        b"TCP 192.0.2.1 198.51.100.2 4711 443",
        b"UDP4 192.0.2.1 198.51.100.2 4711 443",
        b"UNKNOWNX",
        b"unknown",
        b"TCP4 192.0.2.01 198.51.100.2 4711 443",
        b"TCP4 192.0.2 198.51.100.2 4711 443",
        b"TCP4 192.0.2.256 198.51.100.2 4711 443",
        b"TCP4 0x7f.0.0.1 198.51.100.2 4711 443",
        b"TCP4 2130706433 198.51.100.2 4711 443",
        b"TCP4 localhost 198.51.100.2 4711 443",
        b"TCP4 ::1 ::2 4711 443",
        b"TCP6 192.0.2.1 198.51.100.2 4711 443",
        b"TCP6 ::1%lo ::2 4711 443",
        b"TCP6 [::1] ::2 4711 443",
        b"TCP6 ::1::2 ::2 4711 443",
        b"TCP6 1:2:3:4:5:6:7 ::2 4711 443",
        b"TCP6 00001::1 ::2 4711 443",
        b"TCP4 192.0.2.1 198.51.100.2 04711 443",
        b"TCP4 192.0.2.1 198.51.100.2 00 443",
        b"TCP4 192.0.2.1 198.51.100.2 65536 443",
        b"TCP4 192.0.2.1 198.51.100.2 -1 443",
        b"TCP4 192.0.2.1 198.51.100.2 +1 443",
        b"TCP4 192.0.2.1 198.51.100.2 1_0 443",
        b"TCP4 192.0.2.1 198.51.100.2 4711 443\r",
        b"TCP4 192.0.2.1 198.51.100.2 4711 443\nX: y",
        b"TCP4 192.0.2.1\0 198.51.100.2 4711 443",
        b"TCP4 \xd9\xa1.0.2.1 198.51.100.2 4711 443",
    ],
)
def test_lines_that_are_not_of_version_1(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="PROXY header: "):
        read(b"PROXY " + line + b"\r\n")


def test_a_line_has_at_most_107_bytes_with_its_end() -> None:
    fits = b"PROXY UNKNOWN " + b"x" * (107 - 16) + b"\r\n"
    assert len(fits) == 107
    assert read(fits + b"y")[1] == b"y"
    for too_long in (fits[:-2] + b"x\r\n", fits[:-1] + b"\r\n", fits[:-2] + b"xx"):
        with pytest.raises(RemoteProtocolError, match="longer than 107 bytes"):
            read(too_long)
    assert read(fits[:-2])[0] is None, "it can still end"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\0\n", b"\n\r"])
def test_nothing_but_crlf_ends_a_line(end: bytes) -> None:
    assert read(b"PROXY UNKNOWN" + end)[0] is None


# -- version 2 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (block(V4), ProxyHeader(2, CLIENT, SERVER)),
        (block(V4, family=0x12), ProxyHeader(2, CLIENT, SERVER)),
        (block(V6, family=0x21), ProxyHeader(2, ("2001:db8::1", 4711), ("2001:db8::2", 443))),
        (block(bytes(216), family=0x31), ProxyHeader(2)),
        (block(bytes(216) + vector(AUTHORITY, b"a"), family=0x32), ProxyHeader(2, vectors=((AUTHORITY, b"a"),))),
        (block(b"", family=0x00), ProxyHeader(2)),
        (block(b"anything", family=0x00), ProxyHeader(2)),
        (block(b"\xff", family=0x10), ProxyHeader(2)),
        (block(b"\xff", family=0x01), ProxyHeader(2)),
        (block(b"", command=0x20, family=0x00), ProxyHeader(2, local=True)),
        (block(V4 + b"\xff\xff\xff", command=0x20), ProxyHeader(2, local=True)),
        (block(b"\x01", command=0x20, family=0x21), ProxyHeader(2, local=True)),
        (block(V4 + vector(NOOP, b"")), ProxyHeader(2, CLIENT, SERVER, vectors=((NOOP, b""),))),
        (block(V4 + vector(0xEE, b"x")), ProxyHeader(2, CLIENT, SERVER, vectors=((0xEE, b"x"),))),
    ],
)
def test_blocks_of_version_2(data: bytes, header: ProxyHeader) -> None:
    assert read(data + b"\x16\x03\x01") == (header, b"\x16\x03\x01")


TLS_VALUE = b"\x01\0\0\0\x01"


@pytest.mark.parametrize(
    "data",
    [
        block(V4, command=0x11),
        block(V4, command=0x31),
        block(V4, command=0x22),
        block(V4, command=0x2F),
        block(V4, family=0x41),
        block(V4, family=0xF1),
        block(V4, family=0x13),
        block(b"", command=0x20, family=0x40),
        block(V4[:-1]),
        block(V4, family=0x21),
        block(V6, family=0x31),
        block(b"", size=MAX_BLOCK + 1),
        block(b"", command=0x20, family=0, size=0xFFFF),
        block(V4 + b"\x04"),
        block(V4 + b"\x04\0"),
        block(V4 + b"\x04\0\x01"),
        block(V4 + b"\x04\xff\xff"),
        block(V4 + vector(NOOP, b"") + b"\0"),
        block(V4 + vector(NOOP, b"") * (MAX_VECTORS + 1)),
        block(V4 + vector(CRC32C, bytes(4))),
        block(V4 + vector(CRC32C, bytes(3))),
        block(V4 + vector(CRC32C, b"")),
        block(V4 + vector(UNIQUE_ID, bytes(129))),
        block(V4 + vector(TLS, TLS_VALUE[:-1])),
        block(V4 + vector(TLS, TLS_VALUE + b"\x21")),
        block(V4 + vector(TLS, TLS_VALUE + b"\x21\0\x05TLS")),
        block(V4 + vector(TLS, TLS_VALUE + vector(0x21, b"") * MAX_VECTORS)),
    ],
)
def test_blocks_that_are_not_of_version_2(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="PROXY header: "):
        read(data + bytes(MAX_BLOCK))


def test_an_oversized_block_is_refused_before_it_is_stored() -> None:
    reader = ProxyHeaderReader()
    reader.receive_data(block(b"", size=MAX_BLOCK))
    assert reader.next_header() is None
    reader = ProxyHeaderReader()
    reader.receive_data(block(b"", size=MAX_BLOCK + 1))
    with pytest.raises(RemoteProtocolError, match="more than 16384 bytes"):
        reader.next_header()


def test_a_checksum_is_verified() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    good = proxy_v2(CLIENT, SERVER, alpn=b"h2", checksum=True)
    header, _ = read(good)
    assert header is not None
    assert header.get(CRC32C) == good[-4:]
    for at in {*range(16, len(good))} - {len(good) - 7}:  # without its type there is no checksum
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(RemoteProtocolError):
            read(bytes(bad))
    moved = block(V4 + vector(CRC32C, bytes(4)) + vector(NOOP, b"xyz"))
    moved = moved.replace(vector(CRC32C, bytes(4)), vector(CRC32C, pack("!I", crc32c(moved))))
    assert read(moved)[0] is not None, "it need not be the last one"
    twice = block(V4 + vector(CRC32C, bytes(4)) * 2)
    with pytest.raises(RemoteProtocolError, match="checksum"):
        read(twice)


# -- neither ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0", b"\0", b"\r\n\r\n\r", b"PROXY\t", b"PRI"]
)
def test_what_is_no_header_is_refused_at_the_first_byte_that_says_so(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="PROXY header: missing"):
        read(data)
    wrong = next(end for end in range(1, len(data) + 1) if outcome(data[:end])[0] == "error")
    assert not b"PROXY ".startswith(data[:wrong])
    assert not SIGNATURE.startswith(data[:wrong])


# -- writing ---------------------------------------------------------------------------------------------------------


def test_what_is_written_for_a_client_without_an_address() -> None:
    assert proxy_v1(None, None) == b"PROXY UNKNOWN\r\n"
    assert proxy_v2(None, None) == block(b"", family=0)


def test_what_is_written_is_bit_for_bit_what_the_specification_has() -> None:
    assert proxy_v1(("192.168.0.1", 56324), ("192.168.0.11", 443)) == (
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    )
    assert proxy_v1(("2001:db8::1", 1), None) == b"PROXY TCP6 2001:db8::1 :: 1 0\r\n"
    tls = ClientTLS("TLSv1.3", "TLS_AES_128_GCM_SHA256", "client.test")
    assert proxy_v2(CLIENT, SERVER, alpn=b"h2", authority="a.test", unique_id=b"id", tls=tls) == block(
        V4
        + b"\x01\0\x02h2"
        + b"\x02\0\x06a.test"
        + b"\x05\0\x02id"
        + b"\x20\0\x36\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x0bclient.test\x23\0\x16TLS_AES_128_GCM_SHA256"
    )


def test_flags_of_a_client_certificate() -> None:
    assert ClientTLS("TLSv1.2", "x").value()[:5] == b"\x01\0\0\0\x01", "none was shown, so none was verified"
    assert ClientTLS("TLSv1.2", "x", "").value()[:5] == b"\x07\0\0\0\0"
    assert ClientTLS("TLSv1.2", "x", "me", resumed=True).value()[:5] == b"\x05\0\0\0\0"


def test_families_are_not_mixed() -> None:
    assert proxy_v1(("192.0.2.1", 1), ("2001:db8::2", 2)).startswith(b"PROXY TCP6 ::ffff:")
    header, _ = read(proxy_v2(("192.0.2.1", 1), ("2001:db8::2", 2)))
    assert header == ProxyHeader(2, ("192.0.2.1", 1), ("2001:db8::2", 2))
    assert proxy_v1(("::ffff:192.0.2.1", 1), ("192.0.2.2", 2)).startswith(b"PROXY TCP4 192.0.2.1 192.0.2.2 ")


@pytest.mark.parametrize(
    "source", [("", 1), ("a.test", 1), ("192.0.2.1", -1), ("192.0.2.1", 65536), ("192.0.2.1 x", 1)]
)
def test_what_has_no_place_in_a_header_is_our_own_mistake(source: tuple[str, int]) -> None:
    for write in (proxy_v1, proxy_v2):
        with pytest.raises(LocalProtocolError):
            write(source, SERVER)
    with pytest.raises(LocalProtocolError):
        proxy_v2(CLIENT, SERVER, unique_id=bytes(129))
    with pytest.raises(LocalProtocolError):
        proxy_v2(CLIENT, SERVER, authority="a" * MAX_BLOCK)
    with pytest.raises(LocalProtocolError):
        vector(NOOP, bytes(65536))


# -- properties ------------------------------------------------------------------------------------------------------

ENDS = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))
CLIENT_TLS = st.builds(
    ClientTLS,
    st.sampled_from(["TLSv1.2", "TLSv1.3"]),
    st.text("ABCDEF-0189_", max_size=30),
    st.none() | st.text(max_size=20),
    st.booleans(),
)
HEADERS = st.builds(proxy_v1, st.none() | ENDS, st.none() | ENDS) | st.builds(
    proxy_v2,
    st.none() | ENDS,
    st.none() | ENDS,
    alpn=st.binary(max_size=20),
    authority=st.text(max_size=20),
    unique_id=st.binary(max_size=128),
    tls=st.none() | CLIENT_TLS,
    checksum=st.booleans(),
)
CUTS = st.lists(st.integers(0, 700), max_size=6)


def split(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted(min(place, len(data)) for place in places)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def normal(end: tuple[str, int]) -> tuple[str, int]:
    """As the reader has it."""
    address = ip_address(end[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), end[1]


@given(ENDS, ENDS)
def test_addresses_come_back_as_they_were_written(source: tuple[str, int], destination: tuple[str, int]) -> None:
    for version, write in ((1, proxy_v1), (2, proxy_v2)):
        header, rest = read(write(source, destination) + b"rest")
        assert header == ProxyHeader(version, normal(source), normal(destination))
        assert rest == b"rest"


@given(
    ENDS,
    st.binary(min_size=1, max_size=30),
    st.text(min_size=1, max_size=30),
    st.binary(min_size=1, max_size=128),
    CLIENT_TLS,
)
def test_vectors_come_back_as_they_were_written(
    source: tuple[str, int], alpn: bytes, authority: str, unique_id: bytes, tls: ClientTLS
) -> None:
    written = proxy_v2(source, None, alpn=alpn, authority=authority, unique_id=unique_id, tls=tls, checksum=True)
    header, _ = read(written)
    assert header is not None
    assert header.vectors == (
        (ALPN, alpn),
        (AUTHORITY, authority.encode("utf-8", "replace")),
        (UNIQUE_ID, unique_id),
        (TLS, tls.value()),
        (CRC32C, written[-4:]),
    )


@given(HEADERS, st.binary(max_size=40), CUTS)
def test_cuts_make_no_difference(header: bytes, rest: bytes, places: list[int]) -> None:
    data = header + rest
    whole = outcome(data)
    assert isinstance(whole[0], ProxyHeader)
    assert whole[1] == rest
    assert outcome(*split(data, places)) == whole
    assert outcome(*(data[at : at + 1] for at in range(len(data)))) == whole


@given(HEADERS, st.data())
def test_a_part_of_a_header_is_none(header: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(header) - 1))
    assert outcome(header[:end]) == (None, b"")


@given(
    HEADERS,
    st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4),
    CUTS,
)
@example(b"", [(0, b"", 0)], [])
def test_changed_bytes_raise_nothing_but_protocol_errors(
    header: bytes, changes: list[tuple[int, bytes, int]], places: list[int]
) -> None:
    data = header
    for at, news, removed in changes:
        data = data[:at] + news + data[at + removed :]
    data += b"\r\n\r\n" * 30
    whole = outcome(data)
    assert outcome(*split(data, places)) == whole
    assert outcome(*(data[at : at + 1] for at in range(len(data)))) == whole


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_signature_raise_nothing_but_protocol_errors(rest: bytes) -> None:
    for start in (b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\0", block(V4, size=12 + len(rest))):
        outcome(start + rest)
