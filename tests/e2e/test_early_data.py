"""0-RTT is off: a request in early data (RFC 8446 section 2.3) is never acted on, so nobody can replay one (RFC 8470)."""

from __future__ import annotations

import ssl
from pathlib import Path

from support_e2e import Lockgate, run, wait_until

REQUEST = b"GET /replayed HTTP/1.1\r\nHost: localhost\r\n\r\n"
ASKING = b"GET /asked HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PEM = ("-----BEGIN SSL SESSION PARAMETERS-----", "-----END SSL SESSION PARAMETERS-----")


def element(der: bytes, start: int) -> tuple[int, int]:
    """(where the content of the element at `start` begins, where it ends); DER, X.690 section 8.1."""
    length, begin = der[start + 1], start + 2
    if length & 0x80:
        size = length & 0x7F
        length, begin = int.from_bytes(der[begin : begin + size], "big"), begin + size
    return begin, begin + length


def with_early_data(session: str) -> str:
    """The same session (`SSL_SESSION_ASN1` of OpenSSL), as if the server had allowed for 16 KiB of early data: field 15."""
    der = ssl.PEM_cert_to_DER_cert(session.replace("SSL SESSION PARAMETERS", "CERTIFICATE"))
    begin, end = element(der, 0)
    place = begin
    while place < end and not (der[place] & 0xE0 == 0xA0 and der[place] & 0x1F >= 15):
        place = element(der, place)[1]
    assert der[place : place + 1] != b"\xaf", "lockgate's ticket allows for early data"
    content = der[begin:place] + bytes.fromhex("af0402024000") + der[place:end]
    made = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    return ssl.DER_cert_to_PEM_cert(made).replace("CERTIFICATE", "SSL SESSION PARAMETERS")


def test_0_rtt_replay(gate: Lockgate, tmp_path: Path) -> None:
    session, changed, early = tmp_path / "session", tmp_path / "changed", tmp_path / "early"
    early.write_bytes(REQUEST)
    client = [
        "openssl", "s_client", "-connect", f"127.0.0.1:{gate.port}", "-CAfile", gate.ca, "-servername", "localhost",
        "-ign_eof", "-tls1_3",
    ]  # fmt: skip
    run(*client, "-sess_out", session, input=ASKING, timeout=60)
    text = session.read_text()
    changed.write_text(with_early_data(text[text.index(PEM[0]) :]))
    for _ in range(2):
        done = run(*client, "-sess_in", changed, "-early_data", early, input=ASKING, timeout=60)
        assert "Early data was rejected" in done.stdout
        assert "Reused, TLSv1.3" in done.stdout, "the session is good, the early data is not"
        assert done.stdout.count("HTTP/1.1 404 ") == 1
    wait_until(lambda: len(gate.records()) >= 3, "the log of the requests")
    assert {record["target"] for record in gate.records()} == {"/asked"}
