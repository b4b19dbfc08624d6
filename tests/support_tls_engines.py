"""Contexts of each engine, and how a connection with one of them fails."""

from __future__ import annotations

import pytest
import support_tls
from support_tls import SSLPeer
from support_tls_pair import ENGINES, Pair

from lockgate.core.errors import TLSError
from lockgate.core.tls.context import ClientContext, ServerContext, client_context, server_context
from lockgate.core.tls.engine import EngineKind
from lockgate.core.tls.states import State

VERSIONS = ["TLSv1.2", "TLSv1.3"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


@pytest.fixture
def context(engine: EngineKind) -> ServerContext:
    return server_context([support_tls.server_pem().pair], engine=engine)


@pytest.fixture
def trusting(engine: EngineKind) -> ClientContext:
    return client_context(ca=support_tls.authority().pem, engine=engine)


def failure(pair: Pair) -> TLSError:
    """Let the pair fail on our side and deliver what the peer is owed."""
    with pytest.raises(TLSError) as caught:
        pair.exchange()
    assert pair.ours.state is State.FAILED
    with pytest.raises(TLSError) as again:
        pair.ours.next_event()
    assert str(again.value) == str(caught.value)
    pair.owed = pair.ours.data_to_send()
    if not caught.value.received and caught.value.alert is not None:
        assert pair.owed, "the alert was lost"
    pair.peer.receive_data(pair.owed)
    return caught.value


def told(pair: Pair) -> str:
    """How the standard library names the alert it got."""
    assert isinstance(pair.peer, SSLPeer)
    assert pair.peer.error is not None
    return pair.peer.error.reason
