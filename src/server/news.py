"""What is new in a configuration that was prepared again since files have changed.

A file may be of use to several: two hosts with one revocation list, say. If one of them cannot go on with what the file says
now, since something else is wrong there, the file keeps its state of before (`Held`), and is tried again. For the others it is
new all the same, so what was made of the files is compared too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .check import Prepared
from .policy import HostRule
from .problems import shown


def differences(old: Prepared, new: Prepared) -> list[str]:
    """The files that are others, and what is another one although its files count as the same. Empty: there is nothing new."""
    files = [path for path, stamp in new.stamps.items() if old.stamps.get(path) != stamp]
    return [*map(str, files), *(what for what, of in _parts(old, new) if of.isdisjoint(files))]


def _parts(old: Prepared, new: Prepared) -> Iterator[tuple[str, set[Path | None]]]:
    """Whatever has been made of files and is another one now, with its files."""
    for host in new.config.host:
        auth = host.client_auth
        if auth is not None and any(_asked(old.rules.get(name)) != _asked(new.rules[name]) for name in host.names):
            yield f"client_auth of {shown(host.names[0])}", {auth.ca, auth.crl}
    for name, backend in new.config.backend.items():
        tls = backend.tls
        if tls is not None and old.authorities.get(name) != new.authorities.get(name):
            yield f"the authorities of backend {shown(name)}", {tls.ca}
        if tls is not None and old.pairs.get(name) != new.pairs.get(name):
            yield f"the certificate for backend {shown(name)}", {tls.cert, tls.key}


def _asked(rule: HostRule | None) -> object:
    """What of a rule is from files."""
    return None if rule is None else rule.auth
