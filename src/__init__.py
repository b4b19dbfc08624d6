"""lockgate: TLS termination as a sans-IO core, adapters for event loops, and a ready reverse proxy.

What a program of its own needs is here under one name; it is imported when it is first used, so that `import lockgate` stays
cheap.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .core import backend as _backend
from .info import BackendInfo, backend_info

if _TYPE_CHECKING:
    from .certs.identity import load_identity
    from .certs.store import CertificateError
    from .core.commands import NeedCertificate
    from .core.errors import LockgateError
    from .core.events import Request, Response
    from .core.http.headers import Headers
    from .core.limits import Limits
    from .core.proxy.client_match import ClientMatch
    from .core.proxy.client_rule import ClientRule, parse_pattern
    from .core.proxy.hooks import Alert, Answer, ClientHelloFacts, Exchange, Hooks, Refuse, ServeAs
    from .core.proxy.hub import ReverseProxy
    from .core.proxy.policy import Backend, ForwardRules, Identity, Listener, Policy, Route
    from .core.proxy.record import AccessRecord
    from .core.tls.client_auth import ClientAuth
    from .core.tls.context import TLSOptions, client_context, server_context
    from .core.tls.peer import PeerCertificate

_backend.choose()

__version__ = "0.1.0"

__all__ = [
    "AccessRecord", "Alert", "Answer", "Backend", "BackendInfo", "CertificateError", "ClientAuth", "ClientHelloFacts",
    "ClientMatch", "ClientRule", "Exchange", "ForwardRules", "Headers", "Hooks", "Identity", "Limits", "Listener",
    "LockgateError", "NeedCertificate", "PeerCertificate", "Policy", "Refuse", "Request", "Response", "ReverseProxy", "Route",
    "ServeAs", "TLSOptions", "__version__", "backend_info", "client_context", "load_identity", "parse_pattern",
    "server_context",
]  # fmt: skip

_HOMES = {
    "certs.identity": ("load_identity",),
    "certs.store": ("CertificateError",),
    "core.commands": ("NeedCertificate",),
    "core.errors": ("LockgateError",),
    "core.events": ("Request", "Response"),
    "core.http.headers": ("Headers",),
    "core.limits": ("Limits",),
    "core.proxy.client_match": ("ClientMatch",),
    "core.proxy.client_rule": ("ClientRule", "parse_pattern"),
    "core.proxy.hooks": ("Alert", "Answer", "ClientHelloFacts", "Exchange", "Hooks", "Refuse", "ServeAs"),
    "core.proxy.hub": ("ReverseProxy",),
    "core.proxy.policy": ("Backend", "ForwardRules", "Identity", "Listener", "Policy", "Route"),
    "core.proxy.record": ("AccessRecord",),
    "core.tls.client_auth": ("ClientAuth",),
    "core.tls.context": ("TLSOptions", "client_context", "server_context"),
    "core.tls.peer": ("PeerCertificate",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f".{_HOME_OF[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
