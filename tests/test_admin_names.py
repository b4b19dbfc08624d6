"""File names that are no text, on the admin address: a name on a disk is any bytes, and one must not take all numbers away."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from support_config import GOOD, load
from support_tls import authority

from lockgate.server.admin import Shown, page
from lockgate.server.counters import Counters
from lockgate.server.metrics import metrics_text


def test_a_certificate_whose_file_name_is_not_utf_8_is_shown_like_all_others(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    pem = authority().issue("localhost")
    (folder / os.fsdecode(b"caf\xe9.pem")).write_bytes(pem.chain + pem.key)
    prepared = load(tmp_path, GOOD.replace('cert = "site.pem"\nkey = "site.key"\n', 'directory = "certs"\n'))
    shown = Shown(prepared.config, Counters(), 1.0, loaded=prepared.loaded, folders=prepared.folders)
    line = next(line for line in metrics_text(shown.collector).decode().splitlines() if "not_after_seconds{" in line)
    assert 'caf\\\\udce9.pem"' in line, "as `lockgate certs` has it, with the backslash as Prometheus wants it"
    assert "caf\\udce9.pem</td>" in page(shown, datetime.now(UTC)).encode().decode()
