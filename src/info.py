"""What does the work in this process."""

from __future__ import annotations

from dataclasses import dataclass

from .core.backend import PURE


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What does the work in this process, and why."""

    compiled: bool
    """The protocol layers run compiled."""
    engine: str
    """What does the cryptography: `native` or `pyopenssl`."""
    engine_reason: str
    openssl: str
    """Version of the OpenSSL that both engines use."""


def backend_info() -> BackendInfo:
    """Which modules and which TLS engine this process uses."""
    from OpenSSL import SSL

    from .core.tls import connection, engine

    return BackendInfo(
        compiled=not str(connection.__file__).endswith(".py"),
        engine="pyopenssl" if engine.NATIVE is None else "native",
        engine_reason=engine.NATIVE_REASON,
        openssl=SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii"),
    )


def notice() -> str:
    """One line for a program to show at its start if it is slower than it should be; empty if all is as wanted.

    An installation without a C compiler succeeds and runs interpreted, and installers do not show what a build printed.
    """
    if PURE or backend_info().compiled:
        return ""
    return (
        "lockgate: running interpreted, with the same behaviour but slower: this installation has no compiled modules. "
        "Install a C compiler and the Python headers, then lockgate again; LOCKGATE_PURE=1 says that it is meant."
    )
