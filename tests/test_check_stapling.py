"""What `check` says of certificates that demand a staple."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509.ocsp import OCSPCertStatus
from support_config import GOOD, found, write_pem
from support_ocsp import MUST_STAPLE, access, answer, certificate, chain_of
from support_tls import Authority, Pem, authority, server_pem

from lockgate.certs.ocsp_folder import OcspFolder

PEM = certificate(must_staple=True)
LEAF = chain_of(PEM)[0]


STATE = 'state = "state"\n'


def check(folder: Path, pem: Pem, more: str = "") -> list[str]:
    write_pem(folder, "site", pem)
    return [text for _, text in found(folder, f"{more or STATE}{GOOD}")]


@pytest.mark.parametrize("pem", [server_pem(), certificate()], ids=["no responder", "no demand"])
def test_nothing_to_say(tmp_path: Path, pem: Pem) -> None:
    assert check(tmp_path, pem) == []
    assert check(tmp_path, pem, "[tls]\nstapling = false\n") == []
    assert not (tmp_path / "state").exists()


def test_none_yet(tmp_path: Path) -> None:
    (text,) = check(tmp_path, PEM)
    assert text.startswith("warning: ")
    assert "demands an OCSP staple, and there is none yet" in text
    assert "http://ocsp.test/" in text


def test_there_is_one(tmp_path: Path) -> None:
    name = LEAF.fingerprint(hashes.SHA256()).hex()
    folder = OcspFolder(tmp_path / "state")
    folder.want(chain_of(PEM), 0.0)
    folder.keep(name, answer(LEAF))
    assert check(tmp_path, PEM) == []
    folder.keep(name, answer(LEAF, status=OCSPCertStatus.REVOKED))
    assert "there is none yet" in check(tmp_path, PEM)[0]


def test_switched_off(tmp_path: Path) -> None:
    assert "stapling = false; remove" in check(tmp_path, PEM, "[tls]\nstapling = false\n")[0]


def test_no_responder_or_issuer(tmp_path: Path) -> None:
    assert "names no responder" in check(tmp_path, authority().issue("localhost", more=(MUST_STAPLE,)))[0]
    end = b"-----END CERTIFICATE-----\n"
    alone = Pem(PEM.chain.partition(end)[0] + end, PEM.key)
    assert any("its issuer is not in the file" in text for text in check(tmp_path, alone))


def test_issued_by_a_root(tmp_path: Path) -> None:
    """It is in the file, though it is not sent."""
    ca = Authority("flat")
    ca.signing, ca.signing_key = ca.root, ca.root_key
    (text,) = check(tmp_path, ca.issue("localhost", more=(access("http://ocsp.test/"), MUST_STAPLE)))
    assert "there is none yet" in text
