"""Which names may have a certificate by ACME. They become names of files, so nothing but host names passes."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_NAME = 240
"""Bytes. DNS allows 253, but a file's name has at most 255, and something is put after it."""
_LABEL = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")


def is_host_name(name: str) -> bool:
    """Whether this is a name that a CA can check and certify: letters, digits and hyphens in lower case (RFC 1123 section 2.1).

    No wildcard, no underscore, no dot at the end, no IP address.
    """
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        return False
    return not name.rpartition(".")[2].isdigit()


def is_allowed(name: str, patterns: Iterable[str]) -> bool:
    """Whether the name is one of the patterns: exact names, or `*.example.com` for one label below it."""
    above = "*." + name.partition(".")[2]
    return any(pattern in (name, above) for pattern in patterns)
