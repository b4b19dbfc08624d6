"""When an engine says who the peer is: from when its certificate was accepted, the same chain ever after, and never another."""

from __future__ import annotations

import pytest
from support_mtls import certificates, client_auth, client_pem, clients, der, strangers, web
from support_tls import Pem, pieces, server_pem
from support_tls_pair import ENGINES

from lockgate.core.tls.context import TLSOptions, client_context, server_context
from lockgate.core.tls.engine import EngineKind, Status


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


def steps(kind: EngineKind, version: str, pem: Pem | None, mode: str) -> tuple[int, list[int]]:
    """Lengths of what the server says of its client after each byte of the handshake; its status comes first."""
    options = TLSOptions(min_version=version, max_version=version)
    pair = server_pem().pair
    context = server_context([pair], options=options, client_auth=client_auth(mode), engine=kind)
    server = context.engines.engine("", b"")
    identity = None if pem is None else pem.pair
    client = client_context(verify=False, options=options, identity=identity, engine=kind).engine("localhost")
    assert server is not None
    assert server.peer_chain() == ()
    status = Status.WANT
    lengths: list[int] = []
    whole: tuple[bytes, ...] = ()
    for _ in range(4):
        client.handshake()
        for byte in pieces(client.take(), 1):
            server.feed(byte)
            if status == Status.WANT:
                status = Status(server.handshake())
            chain = server.peer_chain()
            assert chain == whole or not whole, "it does not change"
            whole = chain
            lengths.append(len(chain))
        client.feed(server.take())
    if whole:
        assert pem is not None
        assert whole == (*(der(one) for one in certificates(pem)), der(clients().root))
    return status, lengths


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_it_is_there_before_the_end_of_the_handshake_and_stays(engine: EngineKind, version: str) -> None:
    status, lengths = steps(engine, version, web(), "required")
    assert status == Status.OK
    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert 1 < lengths.count(3) < len(lengths), "between the certificate and the last byte there are others"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_of_a_client_that_is_refused_or_shows_none_there_is_nothing(engine: EngineKind, version: str) -> None:
    refused = client_pem(authority=strangers())
    assert steps(engine, version, refused, "required")[0] == Status.FAILED
    assert not any(steps(engine, version, refused, "required")[1])
    assert steps(engine, version, None, "optional")[0] == Status.OK
    assert not any(steps(engine, version, None, "optional")[1])
