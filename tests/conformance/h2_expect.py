"""What has to come back from a server: expectations that read frames from a client until they are met or cannot be any more.

An expectation is met strictly when the server does what the RFC says it MUST or SHOULD: an error is told by GOAWAY or
RST_STREAM with its code. h2spec also takes a connection that is closed without a word for an error; that is `Met.CLOSED`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import support_h2_wire as h2


class Met(Enum):
    """How an expectation was met."""

    YES = "ok"
    CLOSED = "closed, but without the right error frame"


class UnmetError(AssertionError):
    """What came instead is in the text."""


@dataclass(frozen=True)
class Expectation:
    """`judge` is called with each frame: True if that is it, False if it is the contrary, None to go on.

    `by_closing`: whether a connection that is closed is what was expected (YES), as good for h2spec (CLOSED), or None.
    `then_closed`: the connection has to be closed after the frame as well.
    """

    what: str
    judge: Callable[[h2.Frame], bool | None]
    by_closing: Met | None = None
    then_closed: bool = False

    def wait(self, client: h2.Client, timeout: float) -> Met:
        """Read until it is met; UnmetError if it is not."""
        before = len(client.frames)
        try:
            while True:
                verdict = self.judge(client.receive(timeout))
                if verdict:
                    break
                if verdict is False:
                    raise self._unmet(client, before, "")
            if self.then_closed:
                for _ in client.rest(timeout):
                    pass
            return Met.YES
        except TimeoutError:
            raise self._unmet(client, before, "nothing more, not closed") from None
        except h2.Closed as error:
            if self.by_closing is None:
                raise self._unmet(client, before, str(error)) from None
            return self.by_closing

    def _unmet(self, client: h2.Client, before: int, end: str) -> UnmetError:
        came = [str(frame) for frame in client.frames[before:]]
        return UnmetError(f"wanted {self.what}; came: {'; '.join([*came, end] if end else came)}")


def _codes(codes: tuple[int, ...]) -> str:
    return " or ".join(map(str, codes))


def connection_error(*codes: int) -> Expectation:
    """GOAWAY with one of these codes, then the end of the connection (RFC 9113 section 5.4.1)."""

    def judge(frame: h2.Frame) -> bool | None:
        return True if frame.kind == h2.GOAWAY and frame.code in codes else None

    return Expectation(f"GOAWAY with code {_codes(codes)}, then the end", judge, Met.CLOSED, then_closed=True)


def stream_error(*codes: int) -> Expectation:
    """RST_STREAM, or GOAWAY, with one of these codes (RFC 9113 section 5.4.2). RST_STREAM with NO_ERROR is passed over."""

    def judge(frame: h2.Frame) -> bool | None:
        if frame.kind not in (h2.RST_STREAM, h2.GOAWAY):
            return None
        return True if frame.code in codes else None

    return Expectation(f"RST_STREAM or GOAWAY with code {_codes(codes)}", judge, Met.CLOSED)


def goaway(code: int) -> Expectation:
    return Expectation(
        f"GOAWAY with code {code}", lambda frame: frame.code == code if frame.kind == h2.GOAWAY else None
    )


def reset(stream: int, code: int) -> Expectation:
    def judge(frame: h2.Frame) -> bool | None:
        if frame.kind == h2.GOAWAY:
            return False
        return frame.code == code if (frame.kind, frame.stream) == (h2.RST_STREAM, stream) else None

    return Expectation(f"RST_STREAM of stream {stream} with code {code}", judge)


def closed() -> Expectation:
    return Expectation("the end of the connection", lambda _: None, Met.YES)


def answer(stream: int) -> Expectation:
    """A head on this stream."""

    def judge(frame: h2.Frame) -> bool | None:
        if frame.kind in (h2.RST_STREAM, h2.GOAWAY):
            return False
        return True if (frame.kind, frame.stream) == (h2.HEADERS, stream) else None

    return Expectation(f"HEADERS on stream {stream}", judge)


def data_of(stream: int, length: int | None = None) -> Expectation:
    """DATA on this stream, of this length."""

    def judge(frame: h2.Frame) -> bool | None:
        if (frame.kind, frame.stream) != (h2.DATA, stream):
            return None
        return length is None or len(frame.payload) == length

    return Expectation(f"DATA on stream {stream}" + (f" of {length} bytes" if length else ""), judge)


def stream_end(stream: int) -> Expectation:
    return Expectation(
        f"the end of stream {stream}", lambda frame: True if frame.ends_stream and frame.stream == stream else None
    )


def _is_answer(frame: h2.Frame, payload: bytes) -> bool | None:
    if frame.kind != h2.PING:
        return None
    return frame.is_ack and frame.payload == payload


def ping_answer(payload: bytes) -> Expectation:
    return Expectation(f"PING acknowledgement with {payload!r}", lambda frame: _is_answer(frame, payload))


def ping_answer_or_closed(payload: bytes) -> Expectation:
    return Expectation(
        f"PING acknowledgement with {payload!r}, or the end", lambda frame: _is_answer(frame, payload), Met.YES
    )


def settings_answer() -> Expectation:
    return Expectation("SETTINGS acknowledgement", lambda frame: frame.is_ack if frame.kind == h2.SETTINGS else None)


def first_is_settings() -> Expectation:
    return Expectation("SETTINGS as first frame", lambda frame: frame.kind == h2.SETTINGS and not frame.is_ack)
