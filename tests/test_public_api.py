"""What `import lockgate` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import support_mtls as mtls
from support_config import write_pem
from support_tls import server_pem

import lockgate
from lockgate import ClientAuth, ClientRule, PeerCertificate, load_identity, parse_pattern

HEAVY = ("OpenSSL", "asyncio", "cryptography", "lockgate.core.proxy", "trio")


@pytest.mark.parametrize("name", lockgate.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(lockgate, name) is not None
    assert name in dir(lockgate)


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "Backends"
    with pytest.raises(AttributeError, match="no attribute 'Backends'"):
        getattr(lockgate, name)


def test_import_is_cheap() -> None:
    """Nothing heavy is imported before it is used."""
    program = f"import lockgate, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    package = str(Path(lockgate.__path__[0]).absolute().parent)
    run = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": package}, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


def test_an_identity_that_asks_for_client_certificates(tmp_path: Path) -> None:
    write_pem(tmp_path, "site", server_pem())
    auth = ClientAuth(mode="optional", ca=mtls.clients().pem)
    rule = ClientRule("optional", (parse_pattern("spiffe://prod/*"),), ("client-cert",))
    paths = (tmp_path / "site.pem", tmp_path / "site.key")
    for options in (None, lockgate.TLSOptions()):
        identity = load_identity(*paths, options=options, client_auth=auth, client_rule=rule)
        assert identity.client_auth is rule
        for context in (identity.context, identity.http_1_context):
            assert context is None or context.wants_peer
    everyone = load_identity(*paths, client_auth=auth).client_auth
    assert everyone is not None
    assert (everyone.mode, everyone.allow, everyone.forward) == ("optional", (), ())
    peer = PeerCertificate(tuple(map(mtls.der, mtls.certificates(mtls.web()))))
    assert rule.judge(peer)[0] == ""
    for wrong in (None, ClientAuth(mode="required", ca=auth.ca)):
        with pytest.raises(ValueError, match="needs a client_auth of the same mode"):
            load_identity(*paths, client_auth=wrong, client_rule=rule)
