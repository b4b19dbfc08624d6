"""ECDSA or RSA: each client gets the certificate that it can use, and that one's chain only."""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from support_certs import rsa_key, sign
from support_tls import SSLPeer, extension, hello_message, u16, with_length
from support_tls_pair import established, server_pair

from lockgate.core.errors import TLSError
from lockgate.core.events import ClientHelloReceived, HandshakeCompleted, Role
from lockgate.core.tls.choice import ECDSA_SUITES, PREFERENCE, RSA_SUITES, best_key_type
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import CIPHERS, ContextError, TLSOptions, server_context
from lockgate.core.tls.hello import ClientHello, parse_client_hello

P256, P384, RSA = "ECDSA P-256", "ECDSA P-384", "RSA"
TLS13, TLS12 = 0x0304, 0x0303
ECDSA_SUITE, RSA_SUITE, SUITE_13, OLD_SUITE = 0xC02B, 0xC02F, 0x1301, 0x009C


def numbers(*values: int) -> bytes:
    return b"".join(u16(value) for value in values)


def hello(
    *,
    versions: tuple[int, ...] = (),
    algorithms: tuple[int, ...] = (),
    groups: tuple[int, ...] = (),
    suites: tuple[int, ...] = (SUITE_13,),
) -> ClientHello:
    """A ClientHello; an empty list is a missing extension."""
    extensions = []
    if versions:
        extensions.append(extension(43, with_length(numbers(*versions), 1)))
    if algorithms:
        extensions.append(extension(13, with_length(numbers(*algorithms))))
    if groups:
        extensions.append(extension(10, with_length(numbers(*groups))))
    return parse_client_hello(hello_message(*extensions, ciphers=numbers(*suites)))


def test_suites_are_those_of_the_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHERS)
    ours = {cipher["id"] & 0xFFFF: cipher for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"}
    assert {number for number, cipher in ours.items() if cipher["auth"] == "auth-ecdsa"} == ECDSA_SUITES
    assert {number for number, cipher in ours.items() if cipher["auth"] == "auth-rsa"} == RSA_SUITES


@pytest.mark.parametrize(
    ("algorithms", "available", "wanted"),
    [
        ((0x0403, 0x0804), (RSA, P256), P256),
        ((0x0804, 0x0403), (RSA, P256), P256),  # the server's preference
        ((0x0804, 0x0401), (P256, RSA), RSA),
        ((0x0806,), (P256, RSA), RSA),
        ((0x0503, 0x0804), (P256, RSA), RSA),  # the scheme names the curve
        ((0x0503, 0x0804), (P384, RSA), P384),
        ((0x0403, 0x0503), (P384, P256), P256),
        ((0x0503,), (P384, P256), P384),
        ((0x0603, 0x0804), ("ECDSA P-521", RSA), "ECDSA P-521"),
        ((0x0807, 0x0804), ("Ed25519", RSA), "Ed25519"),
        ((0x0403, 0x0807), ("Ed25519", P256), P256),
        ((0x0808, 0x0804), ("Ed448", RSA), "Ed448"),
        ((0x0401, 0x0203), (P256, RSA), RSA),  # none of them is of TLS 1.3: a failure anyhow
        ((0x0401,), (P256, P384), P256),
        ((), (P256, RSA), RSA),
        ((0x0A0A, 0x0403), (P256, RSA), P256),  # GREASE
        ((0x0401,), (P256,), P256),  # there is no choice
    ],
)
def test_tls_1_3(algorithms, available, wanted):
    offer = hello(
        versions=(TLS13, TLS12), algorithms=algorithms, suites=(SUITE_13, ECDSA_SUITE, RSA_SUITE), groups=(29,)
    )
    assert best_key_type(offer, available) == wanted


@pytest.mark.parametrize(
    ("suites", "algorithms", "groups", "available", "wanted"),
    [
        ((ECDSA_SUITE, RSA_SUITE), (0x0403, 0x0401), (29, 23), (RSA, P256), P256),
        ((RSA_SUITE, ECDSA_SUITE), (0x0401, 0x0403), (29, 23), (RSA, P256), P256),
        ((RSA_SUITE,), (0x0403, 0x0401), (29, 23), (RSA, P256), RSA),
        ((ECDSA_SUITE,), (0x0403, 0x0401), (29, 23), (RSA, P256), P256),
        ((ECDSA_SUITE, RSA_SUITE), (0x0401, 0x0804), (29, 23), (RSA, P256), RSA),
        ((ECDSA_SUITE, RSA_SUITE), (0x0403, 0x0401), (29, 24), (RSA, P256), RSA),  # no P-256
        ((ECDSA_SUITE, RSA_SUITE), (0x0403, 0x0401), (29, 24), (RSA, P256, P384), P384),
        ((ECDSA_SUITE, RSA_SUITE), (0x0403, 0x0401), (), (RSA, P256), P256),
        ((ECDSA_SUITE, RSA_SUITE), (), (23,), (RSA, P256), P256),
        ((RSA_SUITE,), (), (), (RSA, P256), RSA),
        ((ECDSA_SUITE, RSA_SUITE), (0x0603, 0x0401), (24,), (RSA, P384), P384),  # in TLS 1.2 the hash alone counts
        ((ECDSA_SUITE, RSA_SUITE), (0x0203, 0x0201), (23,), (RSA, P256), RSA),  # SHA-1: a failure anyhow
        ((ECDSA_SUITE, RSA_SUITE), (0x0807, 0x0401), (29,), (RSA, "Ed25519"), "Ed25519"),
        ((0xCCA9, 0xCCA8), (0x0403, 0x0401), (23,), (RSA, P256), P256),
        ((0xCCA8,), (0x0403, 0x0401), (23,), (RSA, P256), RSA),
        ((OLD_SUITE,), (0x0403, 0x0401), (23,), (P256, RSA), RSA),  # no suite of ours: a failure anyhow
        ((SUITE_13, ECDSA_SUITE), (0x0403,), (23,), (RSA, P256), P256),
    ],
)
def test_tls_1_2(suites, algorithms, groups, available, wanted):
    for versions in ((), (TLS12,), (0x0A0A, TLS12)):
        offer = hello(versions=versions, suites=suites, algorithms=algorithms, groups=groups)
        assert best_key_type(offer, available) == wanted


@given(
    versions=st.lists(st.sampled_from([TLS13, TLS12, 0x0A0A]), max_size=3),
    algorithms=st.lists(st.integers(0, 0xFFFF) | st.sampled_from([0x0403, 0x0804, 0x0401]), max_size=5),
    groups=st.lists(st.integers(0, 0xFFFF) | st.sampled_from([23, 24]), max_size=4),
    suites=st.lists(st.integers(0, 0xFFFF) | st.sampled_from([ECDSA_SUITE, RSA_SUITE]), min_size=1, max_size=5),
    available=st.lists(st.sampled_from([*PREFERENCE, "unheard of"]), min_size=1, unique=True),
    random=st.randoms(use_true_random=False),
)
def test_always_one_of_those_available_whatever_their_order(*, versions, algorithms, groups, suites, available, random):
    offer = hello(versions=tuple(versions), algorithms=tuple(algorithms), groups=tuple(groups), suites=tuple(suites))
    chosen = best_key_type(offer, available)
    assert chosen in available
    if chosen in PREFERENCE and (RSA in available or len(available) == 1):
        shuffled = list(available)
        random.shuffle(shuffled)
        assert best_key_type(offer, shuffled) == chosen


def test_where_tls_1_3_is_not_spoken():
    offer = hello(versions=(TLS13, TLS12), algorithms=(0x0403, 0x0804), suites=(SUITE_13, RSA_SUITE), groups=(23,))
    assert best_key_type(offer, (P256, RSA)) == P256
    assert best_key_type(offer, (P256, RSA), tls_1_3=False) == RSA
    assert (
        server_context([PAIRS[P256], PAIRS[RSA]], options=TLSOptions(max_version="TLSv1.2")).engines_for(offer)
        is not None
    )


# Real clients


TODAY = datetime.datetime.now(datetime.UTC)


def pairs() -> dict[str, tuple[bytes, bytes]]:
    """A certificate for each kind of key, each with an intermediate certificate of its own."""
    root = sign("Root", ca=True, now=TODAY)
    made: dict[str, tuple[bytes, bytes]] = {}
    for kind, key in ((P256, None), (P384, ec.generate_private_key(ec.SECP384R1())), (RSA, rsa_key())):
        issuer = sign(f"Issuer of {kind}", root, ca=True, now=TODAY)
        leaf = sign(kind, issuer, names=["localhost"], key=key, now=TODAY)
        made[kind] = (leaf.pem + issuer.pem, leaf.key_pem())
    return made


PAIRS = pairs()


def serve_one(sock: socket.socket, available: tuple[str, ...]) -> None:
    """A handshake with the context that is chosen, then wait for the client to leave."""
    tls = TLSConnection(Role.SERVER)
    with sock, contextlib.suppress(OSError):
        sock.settimeout(20)
        while data := sock.recv(65536):
            tls.receive_data(data)
            try:
                while isinstance(event := tls.next_event(), (ClientHelloReceived, HandshakeCompleted)):
                    if isinstance(event, ClientHelloReceived):
                        tls.use_context(server_context([PAIRS[kind] for kind in available]))
            except TLSError:
                sock.sendall(tls.data_to_send())
                return
            sock.sendall(tls.data_to_send())


@contextlib.contextmanager
def serving(*available: str) -> Iterator[int]:
    """A server for one connection after the other; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    serve_one(listening.accept()[0], available)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("", P256),
        ("-tls1_3", P256),
        ("-tls1_3 -sigalgs RSA-PSS+SHA256", RSA),
        ("-tls1_3 -sigalgs RSA-PSS+SHA256:ECDSA+SHA256", P256),
        ("-tls1_3 -sigalgs ECDSA+SHA384", P384),
        ("-tls1_3 -sigalgs ECDSA+SHA384:ECDSA+SHA256", P256),
        ("-tls1_2", P256),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", RSA),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", P256),
        ("-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-CHACHA20-POLY1305", P256),
        ("-tls1_2 -sigalgs RSA+SHA256", RSA),
        ("-tls1_2 -sigalgs RSA-PSS+SHA384", RSA),
        ("-tls1_2 -sigalgs ECDSA+SHA256", P256),
        ("-tls1_2 -groups X25519", RSA),
        ("-tls1_2 -groups X25519:P-384", P384),
    ],
)
def test_openssl(arguments, wanted):
    with serving(RSA, P384, P256) as port:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-showcerts"]
        done = subprocess.run(
            [*command, *arguments.split()], input=b"Q\n", capture_output=True, timeout=30, check=False
        )
    output = done.stdout.decode()
    subjects = re.findall(r"^ *\d+ s:CN *= *(.*)$", output, re.MULTILINE)
    assert subjects == [wanted, f"Issuer of {wanted}"], output + done.stderr.decode()
    assert "Cipher is (NONE)" not in output


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_stdlib(version):
    with serving(RSA, P256) as port:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", port)) as sock, context.wrap_socket(sock) as client:
            assert P256.encode() in (client.getpeercert(binary_form=True) or b"")
        if version is ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
            with socket.create_connection(("127.0.0.1", port)) as sock, context.wrap_socket(sock) as client:
                assert b"Issuer of RSA" in (client.getpeercert(binary_form=True) or b"")


def test_a_client_that_can_use_none_is_told():
    with serving(P384, P256) as port:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")
        with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(ssl.SSLError, match="HANDSHAKE_FAIL"):
            context.wrap_socket(sock)


def test_two_of_one_kind_are_refused():
    with pytest.raises(ContextError, match="two certificates with the same kind of key"):
        server_context([PAIRS[P256], PAIRS[P256]])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_with_either(version):
    context = server_context([PAIRS[RSA], PAIRS[P256]])
    for ciphers in ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        client.minimum_version = client.maximum_version = version
        client.set_ciphers(ciphers)
        first = established(server_pair(context, client))
        assert isinstance(first.peer, SSLPeer)
        first.ours.send(b"behind the tickets")
        first.exchange()
        second = established(server_pair(context, client, session=first.peer.ssl.session))
        assert second.ours.info is not None
        assert second.ours.info.resumed
