"""PROXY headers of both versions, for our own reader.

The input is what a connection begins with. A header that is accepted is written anew, and has to be read as the same; what the
line of version 1 says is found by a regular expression too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from random import Random

import generate
from harness import Target, Trace, describe_error, require

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.proxy_protocol.format import MAX_BLOCK, SIGNATURE, ProxyHeader, crc32c
from lockgate.core.proxy_protocol.reader import ProxyHeaderReader
from lockgate.core.proxy_protocol.writer import proxy_v1, proxy_v2

LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*?)?|TCP4 ([\d.]+) ([\d.]+) (\d+) (\d+)|TCP6 ([\da-fA-F:.]+) ([\da-fA-F:.]+) (\d+) (\d+))\r\n",
    re.DOTALL,
)
WORDS = (
    b"PROXY |TCP4 |TCP6 |UNKNOWN| 192.0.2.1| 2001:db8::1| ::ffff:1.2.3.4| 0.0.0.0| 01| 65535| 65536| 0|  |\r\n|\r|\n|%1|\0"
).split(b"|")
BYTES = (
    b"\x20",
    b"\x21",
    b"\x11",
    b"\x12",
    b"\x31",
    b"\0\x0c",
    b"\0\x24",
    b"\x03\0\x04\0\0\0\0",
    b"\x20\0\x05\x01\0\0\0\x01",
)
BYTES = (*BYTES, b"\x04\0\0", b"\xff\xff", b"\x40\0", b"\x40\x01", SIGNATURE)


class ProxyHeaders(Target):
    """`ProxyHeaderReader`, as a listener feeds it."""

    name = "proxy_header"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        reader = ProxyHeaderReader()
        rest = list(pieces)
        while rest:
            reader.receive_data(rest.pop(0))
            try:
                header = reader.next_header()
            except RemoteProtocolError as error:
                _require_sticky(reader, error)
                return [describe_error(error)]
            if header is not None:
                return [("header", *header._values()), ("rest", reader.trailing_data + b"".join(rest))]
            require(reader.buffered < 16 + MAX_BLOCK, "more is kept than a header can be long", reader.buffered)
        return [("kept", reader.buffered)]

    def compare(self, data: bytes, trace: Trace) -> None:
        if trace[0][0] != "header":
            return
        header = _read(data)
        rest = trace[1][1]
        require(data.endswith(rest), "what is left is not the end of what came")
        if header.version == 1:
            found = LINE.match(data)
            require(found is not None and found.end() == len(data) - len(rest), "this is no line of version 1", data)
            ends = [part for part in (found.groups() if found else ()) if part is not None]
            if ends:
                source, destination = (_normal(part) for part in ends[:2])
                wanted = ((source, int(ends[2])), (destination, int(ends[3])))
                require((header.source, header.destination) == wanted, "another address than it says", header, wanted)
            again = _read(proxy_v1(header.source, header.destination))
        else:
            require(data.startswith(SIGNATURE), "there is no signature", data)
            again = _read(proxy_v2(header.source, header.destination))
        require(
            (again.source, again.destination) == (header.source, header.destination), "written, it says something else"
        )

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        choice = random.randrange(4)
        if choice == 0:
            return generate.mutate_bytes(random, data, other)
        at = random.randrange(len(data) + 1)
        news = random.choice(WORDS if data.startswith(b"P") else BYTES)
        data = data[:at] + news + data[at + random.choice((0, 0, len(news))) :]
        if choice == 1 and data.startswith(SIGNATURE) and 16 <= len(data) <= MAX_BLOCK:
            data = data[:14] + (len(data) - 16).to_bytes(2, "big") + data[16:]
            return _with_checksum(data)
        return data


def _read(data: bytes) -> ProxyHeader:
    reader = ProxyHeaderReader()
    reader.receive_data(data)
    header = reader.next_header()
    assert header is not None
    return header


def _normal(text: bytes) -> str:
    address = ip_address(text.decode())
    return str(getattr(address, "ipv4_mapped", None) or address)


def _with_checksum(data: bytes) -> bytes:
    """The same with a right checksum, if there is the beginning of one."""
    at = data.find(b"\x03\0\x04", 16)
    if at < 0:
        return data
    blank = data[: at + 3] + bytes(4) + data[at + 7 :]
    return blank[: at + 3] + crc32c(blank).to_bytes(4, "big") + blank[at + 7 :]


def _require_sticky(reader: ProxyHeaderReader, error: RemoteProtocolError) -> None:
    for _ in range(2):
        reader.receive_data(b"PROXY UNKNOWN\r\n")
        try:
            reader.next_header()
        except RemoteProtocolError as again:
            require(again is error, "another error after an error", error, again)
        else:
            require(False, "a header after an error", error)
        require(reader.buffered == 0, "a failed reader goes on storing")
