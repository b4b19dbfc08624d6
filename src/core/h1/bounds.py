"""The limits of HTTP/1.1 as plain numbers, read once for all connections (see `proxy/bounds.py` for the reason)."""

from __future__ import annotations

from ..limits import Limits

START_LINE_REST = 64
"""Bytes of a request line besides the target: method, spaces, version and line end."""


class H1Bounds:
    """A copy of what `H1Connection` needs of `Limits`, where each value is explained. `max_body`: -1 for none."""

    __slots__ = (
        "max_blank_lines", "max_body", "max_chunk_extension", "max_fields", "max_head", "max_interim", "max_start_line",
        "max_target",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.max_blank_lines = limits.max_leading_blank_lines
        self.max_body = -1 if limits.max_body is None else limits.max_body
        self.max_chunk_extension = limits.max_chunk_extension
        self.max_fields = limits.max_fields
        self.max_head = limits.max_head
        self.max_interim = limits.max_interim_responses
        self.max_start_line = min(limits.max_target + START_LINE_REST, limits.max_head)
        self.max_target = limits.max_target
