"""What can only be said of `[[host]]` with `acme` as a whole: names, challenges and listeners, files, the state folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ..certs import store
from ..certs.acme.challenges import HTTP_01, TLS_ALPN_01
from ..certs.acme.jose import ExternalAccount, decode_base64url
from ..certs.acme.names import is_allowed, is_host_name
from ..certs.local_ca import LocalCAError, state_folder
from ..certs.regular import read_regular
from .check_hosts import is_address
from .config import MAX_PER_HOUR, Acme, Config, Draft, Host
from .problems import Problem, shown

MAX_NAMES = 100
"""Names on one certificate that CAs accept at most."""
MAX_EAB_KEY = 65536
"""Bytes of an External Account Binding's key that are read."""


def acme_problems(draft: Draft, in_files: Collection[str]) -> Iterator[Problem]:
    """Every mistake but those of `check_hosts`. `in_files`: the names that the certificates of files are for."""
    config = draft.config
    for host in config.host:
        place = host.place.at("names")
        if host.acme is not None and host.passthrough is not None:
            yield host.acme.place.problem(
                "clients of this host are passed on undecrypted, so no certificate is used",
                "remove acme or passthrough",
            )
        if host.acme is not None and not draft.is_bad(place):
            yield from _names(host, host.acme)
            for index, name in enumerate(host.names):
                if name in in_files:
                    yield place.at(index).problem(
                        f"{shown(name)} is in a [[certificate]] too, which is used for it", "remove one", warning=True
                    )
        if host.acme is not None:
            yield from _on_demand(draft, host.acme)
            yield from _challenge(draft, host.acme)
            yield from _files(draft, host.acme)
    if any(host.acme is not None for host in config.host) and not draft.is_bad(config.place.at("state")):
        yield from _state(config)
    elif config.state is not None and not config.host and not config.tls.stapling:
        yield config.place.at("state").problem("state has no effect here", "remove it", warning=True)


def uses_acme(draft: Draft) -> bool:
    """Whether a certificate is to come by ACME, though there may be mistakes in how that is written."""
    hosts = draft.written.get("host")
    return isinstance(hosts, list) and any(isinstance(host, dict) and "acme" in host for host in hosts)


def names_by_acme(config: Config) -> set[str]:
    """The names that certificates will be there for; `*.` among them."""
    found: set[str] = set()
    for host in config.host:
        if host.acme is not None:
            found |= {*host.names, *host.acme.allow}
    return found


def kinds_for(config: Config, acme: Acme) -> tuple[str, ...]:
    """The kinds of challenge that can be met, the best first."""
    possible = []
    if any(listen.is_tls for listen in config.listen):
        possible.append(TLS_ALPN_01)
    if any(not listen.is_tls for listen in config.listen):
        possible.append(HTTP_01)
    return tuple(kind for kind in possible if acme.challenge in (None, kind))


def on_demand_host(hosts: Iterable[Host], name: str) -> Host | None:
    """The `[[host]]` with `on_demand` that a name belongs to: the one that names it exactly, by a wildcard, or that for all."""
    fitting = [
        host
        for host in hosts
        if host.acme is not None and host.acme.on_demand and (not host.names or is_allowed(name, host.names))
    ]
    return min(fitting, key=lambda host: (name not in host.names, not host.names), default=None)


def demanded_host(hosts: Iterable[Host], name: str) -> Host | None:
    """The same if it may get a certificate for that name, as far as is known without a program that is asked (`ask`)."""
    host = on_demand_host(hosts, name)
    if host is None or host.acme is None or (host.acme.allow and not is_allowed(name, host.acme.allow)):
        return None
    return host


def external_account(acme: Acme) -> ExternalAccount | None:
    """The External Account Binding of a configuration, read from its file. Raises OSError or ValueError."""
    if acme.eab_key_id is None or acme.eab_key_file is None:
        return None
    text = read_regular(acme.eab_key_file, MAX_EAB_KEY).decode("ascii").strip()
    return ExternalAccount(acme.eab_key_id, decode_base64url(text))


def acme_state(config: Config) -> Path:
    """The state folder. Raises `LocalCAError` if none is configured and there is no home directory."""
    return state_folder() if config.state is None else config.state


def _names(host: Host, acme: Acme) -> Iterator[Problem]:
    place = host.place.at("names")
    if len(host.names) > MAX_NAMES and not acme.on_demand:
        yield place.problem(
            f"{len(host.names)} names are more than a certificate may have", f"write several [[host]] of {MAX_NAMES}"
        )
    for index, name in enumerate(host.names):
        if acme.on_demand and is_host_name(name.removeprefix("*.")):
            continue
        if name.startswith("*."):
            yield place.at(index).problem(
                f"{shown(name)} is a wildcard, and a certificate for it needs a proof in DNS, which lockgate cannot give",
                "write the names one by one, or add on_demand = true to acme, or use [[certificate]]",
            )
        elif not is_host_name(name) and not is_address(name):
            yield place.at(index).problem(
                f"{shown(name)} is no name that a CA gives a certificate for", "write a name such as example.com"
            )


def _on_demand(draft: Draft, acme: Acme) -> Iterator[Problem]:
    place = acme.place
    if not acme.on_demand:
        for key, given in (
            ("allow", bool(acme.allow)),
            ("ask", acme.ask is not None),
            ("max_per_hour", acme.max_per_hour != MAX_PER_HOUR),
        ):
            if given:
                yield place.at(key).problem(f"{key} has no effect here", f"add on_demand = true, or remove {key}")
    elif not acme.allow and acme.ask is None and not draft.is_bad(place):
        yield place.at("on_demand").problem(
            "with on_demand alone anybody could make lockgate ask for certificates without end",
            'add allow = ["*.customers.example"] or ask = "http://127.0.0.1:9000/allowed"',
        )
    elif acme.ask is None:
        for index, name in enumerate(acme.allow):
            if name.startswith("*."):
                yield place.at("allow", index).problem(
                    f"anybody can have lockgate ask for certificates for any name below {name[2:]}, {acme.max_per_hour} in an "
                    "hour, until the CA gives out none for that domain any more",
                    'add ask = "http://127.0.0.1:9000/allowed", or write the names',
                    warning=True,
                )


def _challenge(draft: Draft, acme: Acme) -> Iterator[Problem]:
    listeners = draft.config.listen
    if not listeners or any(draft.is_bad(listen.place) for listen in listeners):
        return
    place = acme.place.at("challenge")
    if acme.challenge == TLS_ALPN_01 and TLS_ALPN_01 not in kinds_for(draft.config, acme):
        yield place.problem("tls-alpn-01 needs a listener that speaks TLS", "add one that is reached on port 443")
    elif acme.challenge == HTTP_01 and HTTP_01 not in kinds_for(draft.config, acme):
        yield place.problem(
            "http-01 needs a listener without TLS",
            "add [[listen]] with redirect_https = true that is reached on port 80, or leave challenge out",
        )
    elif not any(listen.is_tls for listen in listeners):
        yield acme.place.problem("no listener speaks TLS, so this certificate is not used", "remove acme", warning=True)


def _files(draft: Draft, acme: Acme) -> Iterator[Problem]:
    place = acme.place
    if acme.ca is not None:
        try:
            store.load_chain(acme.ca)
        except store.CertificateError as error:
            yield place.at("ca").problem(f"{error.path}: {error.fault}", error.remedy)
    if (acme.eab_key_id is None) != (acme.eab_key_file is None):
        if draft.is_bad(place):
            return
        there = "eab_key_file" if acme.eab_key_id is None else "eab_key_id"
        other = "eab_key_id" if acme.eab_key_id is None else "eab_key_file"
        yield place.at(there).problem(f"{there} is of no use without {other}", f"add {other}, or remove {there}")
    elif acme.eab_key_file is not None:
        path, at = acme.eab_key_file, place.at("eab_key_file")
        try:
            binding = external_account(acme)
        except OSError as error:
            yield at.problem(
                f"{path} cannot be read ({error.strerror})", "give the file with the key that the CA gave out"
            )
        except ValueError:
            yield at.problem(
                f"{path} has no key in base64url in it", "write the key as the CA gave it out, and nothing else"
            )
        else:
            if binding is not None and path.stat().st_mode & 0o004:
                yield at.problem(
                    f"{path} can be read by every user of this machine", "protect it: chmod 600 FILE", warning=True
                )


def _state(config: Config) -> Iterator[Problem]:
    place = config.place.at("state")
    try:
        folder = acme_state(config)
    except LocalCAError:
        yield place.problem("there is no home directory to keep certificates in", 'write state = "/var/lib/lockgate"')
        return
    nearest = folder / "acme"
    try:
        if nearest.exists() and nearest.stat().st_uid != os.geteuid():  # as `certs.state_files.make_folder` has it
            yield place.problem(f"{nearest} belongs to another user", "give a folder of the user that runs lockgate")
            return
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        yield place.problem(
            f"{nearest} cannot be reached ({reason})", "let the user that runs lockgate read and write it"
        )
        return
    if not nearest.is_dir():
        yield place.problem(f"{nearest} is not a folder", "give a folder")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield place.problem(f"{nearest} may not be written", "let the user that runs lockgate write it")
