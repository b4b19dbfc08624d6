"""JA4: published fingerprints, real clients, and another implementation of another make, on any hello."""

from __future__ import annotations

import hashlib
import random
import selectors
import socket
import ssl
import string
import struct
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import dpkt.ssl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_tls import alpn, extension, hello_message, server_name, u16, with_length

from lockgate.core.tls.hello import ClientHello, ClientHelloReader, parse_client_hello
from lockgate.core.tls.ja4 import is_grease, ja4, ja4_raw
from lockgate.testing.strategies import Hello, client_hellos

VECTORS = tomllib.loads((Path(__file__).parent / "vectors" / "ja4.toml").read_text())
GREASE = [value * 0x1010 + 0x0A0A for value in range(16)]
EXAMPLE = "a.test"


def hello_for(raw: str, seed: int) -> ClientHello:
    """A ClientHello of which `raw` is the JA4_r: lists that it has sorted in any order, GREASE wherever there may be some."""
    description, ciphers, *rest = raw.split("_")
    shuffled = random.Random(seed)
    suites = [int(value, 16) for value in ciphers.split(",")]
    kinds = [int(value, 16) for value in rest[0].split(",")]
    algorithms = [int(value, 16) for value in rest[1].split(",")] if len(rest) > 1 else []
    shuffled.shuffle(suites)
    suites.insert(0, shuffled.choice(GREASE))
    algorithms.insert(shuffled.randint(0, len(algorithms)), shuffled.choice(GREASE))
    bodies = {
        0x000A: with_length(u16(29)),
        0x000D: with_length(b"".join(map(u16, algorithms))),
        0x002B: with_length(u16(shuffled.choice(GREASE)) + u16(0x0303) + u16(0x0304), 1),
    }
    extensions = [extension(kind, bodies.get(kind, b"")) for kind in kinds]
    if description[3] == "d":
        extensions.append(server_name(EXAMPLE.encode()))
    if description[8:] != "00":
        extensions.append(alpn({"h1": b"http/1.1"}.get(description[8:], description[8:].encode()), b"other"))
    assert len(extensions) == int(description[6:8])
    first, last = shuffled.sample(GREASE, 2)
    extensions += [extension(first, b""), extension(last, b"\0")]
    shuffled.shuffle(extensions)
    return parse_client_hello(hello_message(*extensions, ciphers=b"".join(map(u16, suites))))


@pytest.mark.parametrize("vector", VECTORS["vector"], ids=lambda vector: vector["client"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_published_fingerprints(vector: dict[str, str], seed: int) -> None:
    hello = hello_for(vector["raw"], seed)
    assert ja4_raw(hello) == vector["raw"]
    assert ja4(hello) == vector["ja4"]


@pytest.mark.parametrize("message", VECTORS["message"], ids=lambda message: message["client"])
def test_messages_of_others(message: dict[str, str]) -> None:
    hello = parse_client_hello(bytes.fromhex(message["hello"]))
    assert ja4_raw(hello) == message["raw"]
    assert ja4(hello) == message["ja4"]
    assert reference(hello.raw) == message["ja4"]


# -- the rules, one by one -------------------------------------------------------------------------------------------


def described(*extensions: bytes, version: int = 0x0303, ciphers: bytes = u16(0x1301)) -> str:
    """Part a of a hello with these."""
    return ja4(parse_client_hello(hello_message(*extensions, version=version, ciphers=ciphers))).partition("_")[0]


@pytest.mark.parametrize(
    ("protocol", "shown"),
    [
        (b"h2", "h2"), (b"http/1.1", "h1"), (b"h", "hh"), (b"\xab", "ab"), (b"\xab\xcd", "ad"), (b"0\xab", "3b"),
        (b"01\xab\xcd", "3d"), (b"0\xab\xcd1", "01"), (b"A.", "4e"), (b"\x0a\x0a", "0a"), (b"\xc3\xa9", "c9"),
    ],
)  # fmt: skip
def test_the_first_protocol(protocol: bytes, shown: str) -> None:
    assert described(alpn(protocol, b"zz")) == f"t12i0101{shown}"


@pytest.mark.parametrize(
    ("legacy", "offered", "shown"),
    [
        (0x0303, (), "12"), (0x0302, (), "11"), (0x0301, (), "10"), (0x0300, (), "s3"), (0x0305, (), "00"),
        (0x0303, (0x0304, 0x0303), "13"), (0x0303, (0x0303, 0x0304), "13"), (0x0303, (0x0302,), "11"),
        (0x0303, (0xFAFA, 0x0304), "13"), (0x0303, (0x0A0A,), "00"), (0x0303, (0x7F1C, 0x0304), "00"),
    ],
)  # fmt: skip
def test_the_version(legacy: int, offered: tuple[int, ...], shown: str) -> None:
    extensions = [extension(43, with_length(b"".join(map(u16, offered)), 1))] if offered else []
    assert described(*extensions, version=legacy)[:3] == f"t{shown}"


def test_a_server_name_counts_even_if_it_is_an_address() -> None:
    hello = parse_client_hello(hello_message(server_name(b"192.0.2.1")))
    assert hello.sni == ""
    assert described(server_name(b"192.0.2.1")) == "t12d010100"
    assert described() == "t12i010000"


def test_counts_end_at_99() -> None:
    many = b"".join(u16(0x2000 + number) for number in range(150))
    assert described(*(extension(0x2000 + number, b"") for number in range(120)), ciphers=many) == "t12i999900"


def test_empty_lists_are_no_hashes() -> None:
    hello = parse_client_hello(hello_message(server_name(b"a.test"), alpn(b"h2"), ciphers=u16(0x1A1A)))
    assert ja4(hello) == "t12d0002h2_000000000000_000000000000"
    assert ja4_raw(hello) == "t12d0002h2__"


def test_without_signature_algorithms_no_underscore() -> None:
    kinds = "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01"
    assert hashlib.sha256(kinds.encode()).hexdigest()[:12] == "6d807ffa2a79"  # as the description has it
    only_grease = extension(13, with_length(u16(0x2A2A)))
    assert ja4_raw(parse_client_hello(hello_message(only_grease))).endswith("_000d")


def test_grease() -> None:
    assert [value for value in range(0x10000) if is_grease(value)] == GREASE


# -- another implementation ------------------------------------------------------------------------------------------


def reference(message: bytes) -> str:
    """JA4 by dpkt's parser and regular text: nothing of ours."""
    hello = dpkt.ssl.TLSClientHello(message[4:])
    grease = {f"{digit}a{digit}a" for digit in string.hexdigits.lower()}
    ciphers = sorted(text for suite in hello.ciphersuites if (text := f"{suite.code:04x}") not in grease)
    bodies = {f"{kind:04x}": data for kind, data in getattr(hello, "extensions", [])}
    kinds = [kind for kind in bodies if kind not in grease]
    algorithms = [pair for pair in _pairs(bodies.get("000d", b"")[2:]) if pair not in grease]
    versions = [pair for pair in _pairs(bodies["002b"][1:]) if pair not in grease] if "002b" in bodies else None
    if versions is None:
        versions = [f"{hello.version:04x}"]
    names = {"0304": "13", "0303": "12", "0302": "11", "0301": "10", "0300": "s3", "0002": "s2"}
    names |= {"feff": "d1", "fefd": "d2", "fefc": "d3"}
    protocols = bodies.get("0010", b"")
    first = protocols[3 : 3 + protocols[2]] if protocols else b""
    ends = "00"
    if first:
        ends = first.decode("latin-1")[0] + first.decode("latin-1")[-1]
        if not set(ends) <= set(string.ascii_letters + string.digits):
            ends = first.hex()[0] + first.hex()[-1]
    part_c = ",".join(sorted(kind for kind in kinds if kind not in ("0000", "0010")))
    if algorithms:
        part_c += "_" + ",".join(algorithms)
    digests = [
        hashlib.new("sha256", text.encode()).hexdigest()[:12] if text else "0" * 12
        for text in (",".join(ciphers), part_c)
    ]
    version = names.get(max(versions, default=""), "00")
    counts = "".join(str(min(99, len(values))).zfill(2) for values in (ciphers, kinds))
    return "_".join([f"t{version}{'d' if '0000' in bodies else 'i'}{counts}{ends}", *digests])


def _pairs(data: bytes) -> Iterator[str]:
    return (f"{value:04x}" for (value,) in struct.iter_unpack(">H", data))


@given(client_hellos())
def test_any_hello_has_the_fingerprint_that_the_reference_gives_it(hello: Hello) -> None:
    parsed = parse_client_hello(hello.message)
    assert ja4(parsed) == reference(hello.message)


@given(client_hellos(), st.randoms(use_true_random=False))
def test_the_order_of_ciphers_and_extensions_does_not_matter(hello: Hello, order: random.Random) -> None:
    parsed = parse_client_hello(hello.message)
    parts = list(_extensions(parsed))
    order.shuffle(parts)
    suites = list(parsed.cipher_suites)
    order.shuffle(suites)
    other = parse_client_hello(hello_message(*parts, ciphers=b"".join(map(u16, suites))))
    assert ja4(other) == ja4(parsed)


def _extensions(hello: ClientHello) -> Iterator[bytes]:
    """Each extension as it is on the wire."""
    raw = hello.raw
    at = 4 + 2 + 32
    at += 1 + raw[at]
    at += 2 + int.from_bytes(raw[at : at + 2], "big")
    at += 1 + raw[at] + 2
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at + 2 : at + 4], "big")
        yield raw[at:end]
        at = end


# -- real clients ----------------------------------------------------------------------------------------------------


def next_hellos(listening: socket.socket, count: int = 1) -> list[ClientHello]:
    """The first ClientHellos that anybody sends. A connection may also say nothing: browsers make some to be ready."""
    found: list[ClientHello] = []
    readers: dict[socket.socket, ClientHelloReader] = {}
    end = time.monotonic() + 90
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        while len(found) < count:
            ready = selector.select(end - time.monotonic())
            assert ready, "no hello in time"
            for key, _ in ready:
                if key.fileobj is listening:
                    connection = stack.enter_context(listening.accept()[0])
                    selector.register(connection, selectors.EVENT_READ)
                    readers[connection] = ClientHelloReader(65536)
                    continue
                connection = next(one for one in readers if one is key.fileobj)
                data = b""
                with suppress(ConnectionResetError):
                    data = connection.recv(65536)
                readers[connection].receive_data(data)
                hello = readers[connection].next_hello() if data else None
                if hello is not None:
                    found.append(hello)
                if hello is not None or not data:
                    selector.unregister(connection)
                    connection.close()
    return found[:count]


CLIENTS = {
    "openssl": ("openssl", "s_client", "-connect", "127.0.0.1:{port}", "-servername", EXAMPLE, "-alpn", "h2,http/1.1"),
    "openssl TLS 1.2 without name": (
        "openssl", "s_client", "-connect", "127.0.0.1:{port}", "-noservername", "-tls1_2"
    ),
    "curl": ("curl", "-sk", "--max-time", "60", "--resolve", f"{EXAMPLE}:{{port}}:127.0.0.1", f"https://{EXAMPLE}:{{port}}/"),
    "curl HTTP/1.1 to an address": ("curl", "-sk", "--max-time", "60", "--http1.1", "https://127.0.0.1:{port}/"),
}  # fmt: skip
STARTS = {
    "openssl": "t13d", "openssl TLS 1.2 without name": "t12i", "curl": "t13d", "curl HTTP/1.1 to an address": "t13i",
}  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_real_clients(client: str) -> None:
    command = CLIENTS[client]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        process = subprocess.Popen(
            [part.replace("{port}", port) for part in command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (hello,) = next_hellos(listening)
        process.wait(60)
    assert ja4(hello) == reference(hello.raw)
    assert ja4(hello).startswith(STARTS[client])


def test_the_standard_library_is_told_from_others_and_always_the_same() -> None:
    found = set()
    for _ in range(3):
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        outgoing = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=EXAMPLE)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        reader = ClientHelloReader(65536)
        reader.receive_data(outgoing.read())
        hello = reader.next_hello()
        assert hello is not None
        assert ja4(hello) == reference(hello.raw)
        found.add(ja4(hello))
    assert len(found) == 1


def test_chromium_shuffles_its_extensions_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    """It tries again when nobody answers, with the extensions in another order, and other GREASE."""
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP a.test 127.0.0.1",
    ]  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"https://{EXAMPLE}:{listening.getsockname()[1]}/"
        with subprocess.Popen([*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                hellos = next_hellos(listening, 2)
            finally:
                process.terminate()
    assert [ja4(hello) for hello in hellos] == [reference(hello.raw) for hello in hellos]
    assert hellos[0].extensions != hellos[1].extensions
    assert ja4_raw(hellos[0]) == ja4_raw(hellos[1])
    assert ja4(hellos[0]).startswith("t13d15")
    assert ja4(hellos[0])[8:].startswith("h2_8daaf6152771_"), "the cipher suites that it has had for years"
