"""Scanners that look for what is weak in a TLS server: sslyze and testssl.sh, against the default settings.

What they say of the certificate is about the tests' own authority, and of fields in the answer about the backend.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support_e2e import Certificates, Lockgate, Nginx, program, run

SSLYZE = Path(f"{sys.prefix}-scanners", "bin", "sslyze")
"""In an environment of its own: it wants another version of `cryptography`."""

OF_THE_CERTIFICATE = ("certificate_path_validation:", "maximum_certificate_lifespan:")
HARMLESS = {"OK", "INFO", "LOW", "WARN"}
"""testssl.sh: `WARN` is that something could not be tested (GOST ciphers)."""


@pytest.fixture
def gate(serve: Callable[..., Lockgate], web: Nginx) -> Lockgate:
    return serve(web.port)


def sslyze(gate: Lockgate, certificates: Certificates, *arguments: str) -> str:
    if not SSLYZE.exists():
        pytest.fail("sslyze is not installed; run: make test", pytrace=False)
    # It ends with 1 for what is said of the certificate; what matters here is in its output.
    done = run(SSLYZE, "--certinfo_ca_file", certificates.ca, *arguments, f"localhost:{gate.port}")
    assert "SCANS COMPLETED" in done.stdout, done.stderr
    return done.stdout


def test_sslyze_finds_what_mozilla_recommends(gate: Lockgate, certificates: Certificates) -> None:
    said = sslyze(gate, certificates, "--mozilla_config", "intermediate")
    _, _, verdict = said.partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    assert 'Mozilla\'s "intermediate"' in verdict
    faults = [line.strip()[2:] for line in verdict.splitlines() if line.strip().startswith("* ")]
    assert faults, "at least the certificate is none that Mozilla knows"
    assert [fault for fault in faults if not fault.startswith(OF_THE_CERTIFICATE)] == []


def test_sslyze_resumes_by_ticket(gate: Lockgate, certificates: Certificates) -> None:
    said = sslyze(gate, certificates, "--resum")
    assert "With TLS Tickets: OK - Supported (5 successful resumptions out of 5 attempts)" in said


def test_testssl_has_no_finding_above_low(gate: Lockgate, certificates: Certificates, tmp_path: Path) -> None:
    """Protocols, server preferences, forward secrecy, ciphers by class, and all of the vulnerabilities that it knows."""
    found = tmp_path / "found.json"
    run(
        program("testssl"), "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1",
        "--add-ca", certificates.ca, "--jsonfile", found, "-p", "-s", "-f", "-P", "-U", f"https://localhost:{gate.port}/",
        timeout=900,
    )  # fmt: skip
    findings = json.loads(found.read_text())
    tested = {finding["id"] for finding in findings}
    assert {"TLS1_3", "cipherlist_STRONG", "heartbleed", "ROBOT", "secure_client_renego", "LUCKY13"} <= tested
    assert [finding for finding in findings if finding["severity"] not in HARMLESS] == []
