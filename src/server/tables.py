"""Turns nested tables of plain values into typed ones, collecting every mistake on the way.

msgspec stops at the first fault, so the tables are walked here, one field at a time, and msgspec converts and bounds the
single values. The types are the schema: a class (msgspec Struct or dataclass) is a table, its fields are the keys, a field
without a default is required. A class with a field `place` is told where it was written.

After a mistake reading goes on with the default, so that checks of the whole find what else is wrong; `Reader.is_bad` tells
them which values not to judge.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from . import values
from .problems import KeyPath, Place, Problem, Source, choose, nearest, shown

_known_fields: dict[type[Any], dict[str, tuple[Any, object]]] = {}
"""What `fields_of` has found: that takes long, and there may be ten thousand tables of one kind."""


class Failed:
    """Stands for a value that could not be made; the problem has been noted."""


FAILED = Failed()

PARSERS: Mapping[Any, Callable[[str], Any]] = {
    values.Address: values.parse_address,
    values.ServerAddress: values.parse_server,
    values.HostName: values.parse_host,
    values.PathPrefix: values.parse_path,
    values.Network: values.parse_network,
    values.Pin: values.parse_pin,
    values.Pattern: values.parse_pattern,
    values.Fact: values.parse_fact,
    values.ForwardField: values.parse_forward,
    values.HttpsURL: values.parse_https_url,
    values.WebURL: values.parse_web_url,
    values.Email: values.parse_email,
}

EXAMPLES = {
    "[[listen]]": '[[listen]] with address = "127.0.0.1:8443"',
    "address": 'address = "127.0.0.1:8443"',
    "trusted": 'trusted = ["10.0.0.0/8"]',
    "proxy_protocol": 'proxy_protocol = ["10.0.0.0/8"]',
    "[[certificate]]": '[[certificate]] with cert = "example.com.pem"',
    "cert": 'cert = "example.com.pem"',
    "key": 'key = "example.com.key"',
    "key_password_file": 'key_password_file = "example.com.pass"',
    "directory": 'directory = "certs/"',
    "ca": 'ca = "internal-ca.pem"',
    "[[route]]": '[[route]] with path = "/" and backend = "name"',
    "backend": 'backend = "name of a [backend.name] table"',
    "[[host]]": '[[host]] with names = ["example.com"] and passthrough = "name of a [backend.name] table"',
    "names": 'names = ["example.com", "*.example.com"]',
    "passthrough": 'passthrough = "name of a [backend.name] table"',
    "host": 'host = "example.com"',
    "path": 'path = "/login"',
    "clients": 'clients = { ja4 = ["t13d1516h2_*"] }',
    "ja4": 'ja4 = ["t13d1516h2_*"]',
    "sni": 'sni = ["example.com"]',
    "alpn": 'alpn = ["h2"]',
    "tls_version": 'tls_version = ["TLSv1.2"]',
    "group": 'group = ["X25519MLKEM768"]',
    "servers": 'servers = ["127.0.0.1:9000"]',
    "server_name": 'server_name = "payments.internal"',
    "tls": 'tls = { ca = "internal-ca.pem" }',
    "access_log": 'access_log = "-"',
    "workers": "workers = 2",
    "https_port": "https_port = 443",
    "max_body": "max_body = 1000000",
    "strict_sni": "strict_sni = true",
    "via_name": 'via_name = "edge-1"',
    "client_auth": 'client_auth = { mode = "required", ca = "clients.pem" }',
    "mode": 'mode = "required"',
    "crl": 'crl = "crl.pem"',
    "client_auth.allow": 'allow = ["spiffe://prod/*"]',
    "forward": 'forward = ["client-cert"]',
    "pins": 'pins = ["sha256/BASE64"]',
    "acme": 'acme = { email = "admin@example.com", directory = "https://acme-v02.api.letsencrypt.org/directory" }',
    "acme.directory": 'directory = "https://acme-v02.api.letsencrypt.org/directory"',
    "email": 'email = "admin@example.com"',
    "state": 'state = "/var/lib/lockgate"',
    "eab_key_id": 'eab_key_id = "kid-1"',
    "eab_key_file": 'eab_key_file = "eab.key"',
    "allow": 'allow = ["*.customers.example"]',
    "ask": 'ask = "http://127.0.0.1:9000/allowed"',
}
"""What a value looks like, by key, where its default does not show it."""

NEVER_EMPTY = frozenset({"allow", "pins", "ja4", "sni", "alpn", "tls_version", "group"})
"""Lists that let in only who is in them. Without one everybody may come in, so an empty one must not mean the same."""

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string in quotes"}


class Reader:
    """Reads tables of one source. `base` is the folder that relative paths start from."""

    def __init__(self, source: Source, base: Path) -> None:
        self.source = source
        self.base = base
        self.problems: list[Problem] = []
        self._bad: set[KeyPath] = set()  # of values with mistakes, and of all that is around these

    def is_bad(self, place: Place) -> bool:
        """Whether there is a mistake in the value at `place`."""
        return place.path in self._bad

    def table(self, kind: type[Any], raw: object, place: Place, title: str = "") -> Any:
        """An instance of `kind` made of the table `raw`, or FAILED."""
        if not isinstance(raw, dict):
            return self._wrong(place, raw, "a table", EXAMPLES.get(str(place.path[-1]), "") if place.path else "")
        fields = fields_of(kind)
        made: dict[str, Any] = {}
        for key, value in raw.items():
            if key in fields:
                made[key] = self.value(fields[key][0], value, place.at(key), fields[key][1])
            else:
                where = f" in {title}" if title else ""
                self._note(place.at(key), f"unknown key {shown(key)}{where}", choose(key, fields))
                meant = nearest(key, fields)
                if meant is not None:
                    self._mark(place.at(meant).path)
        for key, (_, default) in fields.items():
            if default is REQUIRED and made.setdefault(key, FAILED) is FAILED:
                if not self.is_bad(place.at(key)):
                    self._note(place, f"{title or 'the table'} has no {key}", f"add {_example(place.at(key)) or key}")
                return FAILED
        made = {key: value for key, value in made.items() if value is not FAILED}
        return kind(**made, **({"place": place} if _has_place(kind) else {}))

    def value(self, kind: Any, raw: object, place: Place, default: object = None) -> Any:
        """A value of the type `kind` made of `raw`, or FAILED."""
        kind = _without_none(kind)
        key = next((part for part in reversed(place.path) if isinstance(part, str)), "")
        if kind in PARSERS or kind in {Path, values.LogTarget}:
            return self._text(kind, raw, place, key)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is tuple:
            if not isinstance(raw, list):
                return self._wrong(place, raw, "a list", EXAMPLES.get(f"[[{key}]]" if _is_table(parts[0]) else key, ""))
            if not raw and key in NEVER_EMPTY:
                return self._note(
                    place,
                    f"{key} is an empty list, which nobody is in",
                    f"remove it to do without, or write {_example(place)}",
                )
            items = [self.value(parts[0], item, place.at(index)) for index, item in enumerate(raw)]
            return tuple(item for item in items if item is not FAILED)
        if origin is dict:
            if not isinstance(raw, dict):
                return self._wrong(place, raw, "a table", f"write [{key}.name] and below it its keys")
            tables = {name: self.table(parts[1], item, place.at(name), f"[{key}.{name}]") for name, item in raw.items()}
            return {name: item for name, item in tables.items() if item is not FAILED}
        if _is_table(kind):
            is_element = bool(place.path) and isinstance(place.path[-1], int)
            return self.table(kind, raw, place, f"[[{key}]]" if is_element else f"[{'.'.join(map(str, place.path))}]")
        if origin is Literal:
            if raw in parts:
                return raw
            return self._note(place, f"{key} = {shown(raw)} is not possible", choose(raw, parts))
        return self._scalar(kind, raw, place, key, default)

    def _text(self, kind: Any, raw: object, place: Place, key: str) -> Any:
        if not isinstance(raw, str):
            return self._wrong(place, raw, KINDS[str], _example(place))
        if kind in {Path, values.LogTarget}:
            if not raw or "\0" in raw:
                return self._note(place, f"{key} = {shown(raw)} is no path", f"write {EXAMPLES[key]}")
            return raw if kind == values.LogTarget and raw == "-" else self.base / raw
        try:
            return PARSERS[kind](raw)
        except values.BadValue as bad:
            return self._note(place, bad.message, bad.remedy)

    def _scalar(self, kind: Any, raw: object, place: Place, key: str, default: object) -> Any:
        plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            example = EXAMPLES.get(key, "")
            if not example and isinstance(default, (bool, int, float, str)):
                example = f"{key} = {str(default).lower()}"
            if type(raw) is plain or (plain is float and type(raw) is int):
                bound = str(error).split(" - at")[0].removeprefix("Expected ").replace("`int`", "a whole number")
                return self._note(place, f"{key} = {raw} is out of bounds", f"write {bound}")
            return self._wrong(place, raw, KINDS[plain], example)

    def _wrong(self, place: Place, raw: object, wanted: str, example: str = "") -> Failed:
        key = next((part for part in reversed(place.path) if isinstance(part, str)), "this")
        such = f", such as {example}" if example and "such as" not in wanted else ""
        return self._note(place, f"{key} is {_described(raw)}", f"write {wanted}{such}")

    def _note(self, place: Place, message: str, remedy: str) -> Failed:
        self.problems.append(place.problem(message, remedy))
        self._mark(place.path)
        return FAILED

    def _mark(self, path: KeyPath) -> None:
        self._bad.update(path[:length] for length in range(len(path) + 1))


REQUIRED = object()
"""Stands for the default of a field that has none."""


def fields_of(kind: type[Any]) -> dict[str, tuple[Any, object]]:
    """The keys of a table: {name: (type, default)}; `place` is none of them."""
    if kind in _known_fields:
        return _known_fields[kind]
    hints = get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        known = [(f.name, f.default, f.default_factory) for f in dataclasses.fields(kind)]
        missing: object = dataclasses.MISSING
    else:
        known = [(f.name, f.default, f.default_factory) for f in msgspec.structs.fields(kind)]
        missing = msgspec.NODEFAULT
    found = _known_fields[kind] = {
        name: (hints[name], REQUIRED if default is missing and factory is missing else default)
        for name, default, factory in known
        if name != "place"
    }
    return found


def _example(place: Place) -> str:
    """What the value at a place looks like; a key may be in tables of several kinds."""
    names = [part for part in place.path if isinstance(part, str)]
    return EXAMPLES.get(".".join(names[-2:])) or EXAMPLES.get(names[-1] if names else "", "")


def _has_place(kind: type[Any]) -> bool:
    names = kind.__dataclass_fields__ if dataclasses.is_dataclass(kind) else kind.__struct_fields__
    return "place" in names


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind))


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in {Union, types.UnionType}:
        return reduce(or_, (part for part in get_args(kind) if part is not type(None)))
    return kind


def _described(raw: object) -> str:
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, str):
        return f"the string {shown(raw)}"
    if isinstance(raw, (int, float)):
        return f"the number {raw}"
    if isinstance(raw, (dict, list)):
        return "a table" if isinstance(raw, dict) else "a list"
    return f"a {type(raw).__name__}"
