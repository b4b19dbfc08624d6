"""A folder of certificates for `lockgate explain`, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_config import write_pem
from support_tls import authority, rsa_pem, server_pem

from lockgate.core.proxy.hooks import Hooks
from lockgate.core.proxy.record import AccessRecord
from lockgate.server.explain import Case, explain

CERTIFICATES = {
    "a": ("a.test",), "wild": ("*.a.test", "b.test"), "deep": ("x.a.test",), "c": ("c.test", "*.c.test"),
}  # fmt: skip
SECURE, PLAIN, REDIRECTING = "127.0.0.1:8443", "127.0.0.1:8080", "127.0.0.1:8081"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("explain")
    for name, names in CERTIFICATES.items():
        write_pem(made, name, authority().issue(*names))
    write_pem(made, "site", server_pem())
    write_pem(made, "rsa", rsa_pem())
    return made


def statements(case: Case, about: str) -> list[tuple[str, str, int]]:
    """(text, reason, line) of each statement about a topic."""
    return [(one.text, one.because, one.where()[1]) for one in explain(case) if one.about == about]


class Listening(Hooks):
    def __init__(self) -> None:
        self.records: list[AccessRecord] = []

    def on_log(self, record: AccessRecord) -> None:
        self.records.append(record)
