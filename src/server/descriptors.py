"""The file descriptors of a process: as many as the system allows, and what they are enough for."""

from __future__ import annotations

import resource
from dataclasses import replace

from ..core.limits import Limits

RESERVE = 64
"""For listeners, logs, certificates that are read anew, names that are looked up, and the loop itself."""


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us have: each connection is one, and so is each to a backend."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def fitting(limits: Limits) -> Limits:
    """The limits, with no more connections of clients than there are descriptors for, each with one more to a backend.

    Clients that ask for nothing could take all of them otherwise, and then nobody's request could be passed on.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return limits
    most = max(1, (allowed - RESERVE) // 2)
    return limits if limits.max_connections <= most else replace(limits, max_connections=most)
