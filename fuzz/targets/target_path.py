"""Request targets and authorities: one normal form, and no way around it.

The input is a target; what is before the first `/` is taken for an authority too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from random import Random
from urllib.parse import unquote_to_bytes, urlsplit

import generate
from harness import Target, Trace, require

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.http.authority import parse_authority
from lockgate.core.http.path import normalise

WORDS = (
    b"/ // /. /.. ../ ;a %2e %2E%2e %2f %2F %5c \\ %00 %0a %7f %25 %252e %3b %3B..;/ ? # %zz % %41 ~ [::1] :80 a.b. :0"
).split()


class TargetPath(Target):
    """`normalise`, with and without encoded slashes, and `parse_authority`."""

    name = "target_path"
    splits = False

    def run(self, pieces: Sequence[bytes]) -> Trace:
        data = b"".join(pieces)
        return [
            *(_normalised(data, encoded_slash) for encoded_slash in (False, True)),
            ("authority", parse_authority(data.split(b"/")[0])),
        ]

    def compare(self, data: bytes, trace: Trace) -> None:
        for encoded_slash in (False, True):
            kind, target = _normalised(data, encoded_slash)
            if kind == "target" and target != b"*":
                again = _normalised(target, encoded_slash)
                require(again == ("target", target), "a normal form has another normal form", target, again)
                _require_safe(data, target, encoded_slash)
        authority = data.split(b"/")[0]
        parsed = parse_authority(authority)
        if parsed is not None:
            _require_authority(authority, *parsed)

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        if random.randrange(3):
            at = random.randrange(len(data) + 1)
            data = data[:at] + random.choice(WORDS) + data[at:]
            return data if random.randrange(3) else generate.mutate_bytes(random, data, other)
        return generate.mutate_bytes(random, data, other)


def _normalised(target: bytes, encoded_slash: bool) -> tuple[str, bytes]:
    try:
        return "target", normalise(target, encoded_slash)
    except RemoteProtocolError as error:
        return "refused", str(error).encode()


def _require_safe(given: bytes, target: bytes, encoded_slash: bool) -> None:
    """A backend that decodes and resolves the path once more finds nothing to resolve."""
    path, mark, query = target.partition(b"?")
    given_path, given_mark, given_query = given.partition(b"?")
    require((mark, query) == (given_mark, given_query), "the query has changed", given, target)
    require(re.fullmatch(rb"(/[!$&-.0-;=@A-Z_a-z~%\"<>^`{|}#\[\]\x80-\xff]*)+", path), "not a path", given, target)
    decoded = unquote_to_bytes(path)
    require(not re.search(rb"[\x00-\x1f\x7f\\]", decoded), "a control character or backslash is left", given, target)
    segments = re.split(rb"/|%2F", path)
    require(
        not any(re.split(rb";|%3B", segment)[0] in (b".", b"..") for segment in segments),
        "a dot segment is left",
        given,
        target,
    )
    require(b"//" not in path, "an empty segment is left", given, target)
    require(encoded_slash or b"%2f" not in path.lower(), "an encoded slash is left", given, target)
    if not encoded_slash:
        # The file system's own rule, on the path decoded as a whole, comes to the same place.
        place = posixpath.normpath(b"/" + unquote_to_bytes(given_path).lstrip(b"/"))
        require(place == posixpath.normpath(decoded), "resolved, it is another path", given, target, place)


def _require_authority(authority: bytes, host: bytes, port: int | None) -> None:
    """The host is in its only form, and the standard library reads the same one."""
    again = parse_authority(host if port is None else b"%s:%d" % (host, port))
    require(again == (host, port), "a normal host has another normal form", authority, host, again)
    parts = urlsplit(b"//" + authority)
    name = (parts.hostname or b"").removesuffix(b".")
    require(host.startswith(b"[") or name == host, "urlsplit reads another host", authority, host, name)
    require(parts.port == port, "urlsplit reads another port", authority, port, parts.port)
