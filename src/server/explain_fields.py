"""What is changed in the fields of a request on its way: read off what went in and what came out, with the rule behind each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..core.http.fields import KINDS, folded
from ..core.proxy.forward import CHAIN, TLS_STATEMENTS, is_trusted, managed_names
from .config import Config, Listen
from .explain_clients import Teller
from .problems import Place
from .rehearsal import Field, Imagined
from .statements import Statement, quoted

RULES = {b"forwarded": "forwarded", b"via": "via"} | dict.fromkeys(
    (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"), "x_forwarded"
)
"""Which key of [forward] has a field added."""

_COUNTED = "each hop of OPTIONS and TRACE counts (RFC 9110 section 7.6.2)"


def field_changes(
    config: Config,
    listen: Listen,
    imagined: Imagined,
    forwarded: Sequence[Field],
    *,
    own: frozenset[bytes],
    tells: Teller,
) -> Iterator[Statement]:
    """Statements for each field that a client sent and no server gets, and for each that only a server gets.

    `own`: the policy's own names for what backends are told of clients (`Policy.own_names`). `tells`: the rule by which they
    are told something in a field, and its place; None if that field has nothing to do with it.
    """
    sent = [(name.lower(), value) for name, value in (*imagined.fields, (b"host", imagined.authority))]
    removed = Counter(sent) - Counter(forwarded)
    added = Counter(forwarded) - Counter(sent)
    named = {part.strip().lower() for name, value in sent if name == b"connection" for part in value.split(b",")}
    for name, value in sent:
        if removed[name, value]:
            removed[name, value] -= 1
            because, place = _why_removed(name, named, config, listen, imagined, own=own)
            yield Statement("removed", quoted(name + b": " + value), because, place)
    for name, value in forwarded:
        if added[name, value]:
            added[name, value] -= 1
            because, place = tells(name) or _why_added(name, config)
            yield Statement("added", quoted(name + b": " + value), because, place)


def _why_removed(
    name: bytes, named: set[bytes], config: Config, listen: Listen, imagined: Imagined, *, own: frozenset[bytes]
) -> tuple[str, Place | None]:
    if name in KINDS:
        return "it belongs to this connection (RFC 9110 section 7.6.1); what the next one needs is added", None
    if name in TLS_STATEMENTS or name in own:
        return "only lockgate may say that; nobody else is ever believed (RFC 9440 section 4)", None
    if name in CHAIN:
        if is_trusted(imagined.client, listen.trusted):
            return "it is extended or written anew", listen.place.at("trusted")
        return f"{imagined.client} is not among the trusted", listen.place.at("trusted")
    if b"_" in name and config.forward.underscore_fields == "drop":
        return 'underscore_fields = "drop"', config.place.at("forward", "underscore_fields")
    if folded(name) in managed_names(own).names:
        return "a backend may take it for a field that only lockgate may write", None
    if name in named:
        return "the client has named it in Connection (RFC 9110 section 7.6.1)", None
    if name == b"max-forwards":
        return _COUNTED, None
    return "it is written in another way", None


def _why_added(name: bytes, config: Config) -> tuple[str, Place | None]:
    if name in RULES:
        key = RULES[name]
        return f"{key} = true", config.place.at("forward", key)
    if name == b"max-forwards":
        return _COUNTED, None
    return "HTTP/1.1 needs it", None
