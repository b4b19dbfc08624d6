"""Every kind of key that a peer's certificate may have is as good in TLS 1.2 as in TLS 1.3."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from support_certs import rsa_key
from support_mtls import certificates, client_auth, client_pem, der, with_certificate
from support_tls import authority, server_pem, ssl_server_context
from support_tls_pair import ENGINES, client_pair, established, only, server_pair

from lockgate.core.tls.context import TLSOptions, client_context, server_context
from lockgate.core.tls.engine import EngineKind

KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA": rsa_key,
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("kind", KEYS)
def test_that_of_a_client(engine: EngineKind, kind: str, version: str) -> None:
    pem = client_pem(key=KEYS[kind]())
    context = server_context([server_pem().pair], client_auth=client_auth(), engine=engine)
    pair = established(server_pair(context, with_certificate(pem, **only(version))))
    assert pair.ours.info is not None
    assert pair.ours.info.peer is not None
    assert pair.ours.info.peer.der == der(certificates(pem)[0])
    assert pair.ours.info.group != "P-521"  # for keys is not for the key exchange, where the client has another one


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("kind", KEYS)
def test_that_of_a_server(engine: EngineKind, kind: str, version: str) -> None:
    server = ssl_server_context(authority().issue("localhost", key=KEYS[kind]()), **only(version))
    pair = established(client_pair(client_context(ca=authority().pem, engine=engine), server))
    assert pair.ours.info is not None
    assert pair.ours.info.group != "P-521"


def test_groups_that_were_chosen_are_those() -> None:
    options = TLSOptions(groups="X25519")
    assert client_context(options=options).options == options
    assert server_context([server_pem().pair], options=options, client_auth=client_auth()).options == options
