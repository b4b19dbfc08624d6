"""Names that are passed on, in the policy."""

from __future__ import annotations

import re

import pytest
from support_passthrough import OURS, PASSED, SERVERS, policy

from lockgate.core.proxy.policy import Backend, Identity, Policy
from lockgate.core.tls.context import client_context


@pytest.mark.parametrize(
    ("passthrough", "message"),
    [
        ({"a.test": "absent"}, "a.test is passed on to 'absent', and there is no such backend"),
        ({"a.test": "tls"}, "a.test is passed on as it is, so its backend 'tls' has no TLS and no HTTP/2"),
        ({"a.test": "h2c"}, "a.test is passed on as it is, so its backend 'h2c' has no TLS and no HTTP/2"),
        ({"": "plain"}, "a client that names no server cannot be passed on"),
    ],
)
def test_what_cannot_be(passthrough: dict[str, str], message: str) -> None:
    backends = [
        Backend("plain", SERVERS),
        Backend("tls", SERVERS, tls=client_context(verify=False)),
        Backend("h2c", SERVERS, protocol="h2c"),
    ]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Policy.build(backends=backends, routes=[], passthrough=passthrough)


def test_look_ups() -> None:
    known = policy(*OURS)
    assert known.passthrough == PASSED
    assert known.passthrough_for("x.wild.test") == "*.wild.test"
    assert known.passthrough_for("exact.wild.test") == ""
    assert known.passthrough_for("") == ""
    assert known.knows("passed.test")
    assert known.identity_for("ours.test") == 0
    assert known.identity_for("nobody.test") == known.default_identity == 0
    assert known.identity_for("passed.test") not in range(-1, len(known.identities))


def test_other_certificates_change_nothing() -> None:
    one = policy(*OURS)
    for identities in ((), (*one.identities, Identity(("passed.test", "x.wild.test"), one.identities[0].context))):
        other = one.with_identities(identities)
        assert other.passthrough_for("passed.test") == "passed.test"
        assert other.passthrough_for("shared.test") == "shared.test"
        assert other.passthrough_for("x.wild.test") == ("" if identities else "*.wild.test")
        assert other.identity_for("passed.test") == len(identities)
