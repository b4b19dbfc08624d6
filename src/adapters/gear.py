"""Which gear an adapter runs in: `native` (`_accel/poll`, where it is compiled) or `portable`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._accel.gear import Watched
from ..core.backend import PURE

if TYPE_CHECKING:
    from .._accel.poll import Poller

GEARS = ("auto", "native", "portable")
NOT_COMPILED = "the native gear is not compiled here: it needs Linux and a compiled lockgate"


def native_gear(gear: str) -> Poller | None:
    """A new native gear if `gear` asks for it; `auto` does where there is one. None for the portable one.

    RuntimeError for `native` where it is not compiled, ValueError for anything that is not in `GEARS`.
    """
    if gear not in GEARS:
        raise ValueError(f"{gear!r} is not one of {', '.join(GEARS)}")
    if gear == "portable" or (gear == "auto" and PURE):
        return None
    kind = _poller()
    if kind is None and gear == "native":
        raise RuntimeError(NOT_COMPILED)
    return None if kind is None else kind()


def has_native_gear() -> bool:
    """Whether the native gear can be asked for."""
    return _poller() is not None


def _poller() -> type[Poller] | None:
    try:
        from .._accel.poll import Poller
    except ImportError:
        return None
    return Poller


class Callbacks(Watched):
    """Tells a function when something is readable."""

    __slots__ = ("_read",)

    def __init__(self, fd: int, read: Callable[[], object]) -> None:
        super().__init__(fd)
        self._read = read

    def on_readable(self) -> None:
        """Call it."""
        self._read()
