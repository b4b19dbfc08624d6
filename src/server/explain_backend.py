"""How connections to a backend's servers are encrypted, and what has to be true before anything is sent on them."""

from __future__ import annotations

from collections.abc import Iterator

from .config import Backend
from .problems import shown
from .statements import Statement


def encryption_statements(backend: Backend) -> Iterator[Statement]:
    """Whom lockgate takes for one of its servers, and what it shows them."""
    tls = backend.tls
    if tls is None:
        yield Statement("encryption", "none towards the backend", "it has no tls", backend.place)
        return
    if not tls.insecure:
        trusted = "the authorities of the system" if tls.ca is None else f"the authorities in {tls.ca}"
        whose = "the host in servers" if tls.server_name is None else f"the name {tls.server_name}"
        text = f"TLS towards the backend; its certificate has to be for {whose}, from {trusted}"
        yield Statement("encryption", text, "every backend with tls is verified", tls.place)
    elif tls.pins:
        text = "TLS towards the backend, verified by nothing but the key of its certificate"
        yield Statement("encryption", text, "insecure = true", tls.place.at("insecure"))
    else:
        text = "TLS towards the backend, not verified: whoever is in between can read and change everything"
        yield Statement("encryption", text, "insecure = true", tls.place.at("insecure"))
    if tls.pins:
        of = "its certificate's key" if tls.insecure else "the key of its certificate, or of an issuer in its chain,"
        text = (
            f"{of} has to be one of {len(tls.pins)} pinned ones"
            if len(tls.pins) > 1
            else f"{of} has to be the pinned one"
        )
        yield Statement(
            "encryption", text, "pins; without, nothing is sent and the client gets 502", tls.place.at("pins")
        )
    if tls.cert is not None:
        text = f"servers that ask for a certificate are shown the one in {tls.cert}"
        yield Statement("encryption", text, "cert", tls.place.at("cert"))
    text = f"a server that speaks nothing from {tls.min_version} on is refused"
    yield Statement("encryption", text, f"min_version = {shown(tls.min_version)}", tls.place.at("min_version"))
