"""Field sections (RFC 9113 sections 6.2, 6.10 and 8.1): from HEADERS and CONTINUATION to requests, responses and trailers.

A section that comes in several frames is collected first: HPACK is not cut at any sensible place. It is always
decoded, even where its stream is refused or closed, since HPACK has one state for the whole connection (section 4.3).
What it says is the business of `messages.py`; here is whether it may be said now, on this stream.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..events import HTTPEvent, Response, Role
from ..limits import Limits
from .control import Control, end_of_message
from .decoder import HeaderDecoder
from .frames import DATA, END_HEADERS, END_STREAM, PADDED, WITH_PRIORITY
from .grpc import is_call
from .head import Head
from .messages import read_request, read_response, read_trailers
from .priority import DEFAULT_PRIORITY, parse_priority
from .settings import DEFAULT_TABLE_SIZE
from .states import FORBIDDEN, Input, State, move
from .stream import Stream, new_stream

_OPEN, _HALF_CLOSED_REMOTE, _CLOSED = int(State.OPEN), int(State.HALF_CLOSED_REMOTE), int(State.CLOSED)
_RECEIVE_HEADERS = int(Input.RECEIVE_HEADERS)
_EXPANSION = 2
"""A field section may be so many times larger as it is sent than decoded: Huffman's code has symbols of 30 bits too."""


class Heads(Control):
    """Base of `Receiving`."""

    __slots__ = (
        "_continuations", "_decoder", "_head", "_ignored", "_last_served", "_max_body", "_max_continuations", "_max_interim",
        "_max_section", "_max_streams", "_max_target", "_scheme", "_section", "_section_ended", "_section_fault",
        "_section_id",
    )  # fmt: skip

    def __init__(self, role: Role, limits: Limits | None, scheme: bytes) -> None:
        super().__init__(role, limits)
        limits = self._limits
        self._scheme = scheme
        self._max_body = -1 if limits.max_body is None else limits.max_body
        self._max_target = limits.max_target
        self._max_interim = limits.max_interim_responses
        self._max_streams = limits.h2_max_streams
        self._max_continuations = limits.h2_continuations
        self._max_section = _EXPANSION * limits.max_head
        # Streams above this id are not served any more. Above all ids: all are served.
        self._last_served = 2**31
        self._ignored = 0
        # The field section under way, if it needs more than one frame.
        self._section: bytearray | None = None
        self._section_id = 0
        self._section_ended = False
        self._section_fault = False
        self._continuations = 0
        self._decoder: HeaderDecoder | None = None
        self._head: Head | None = None

    def _read_headers(self, start: int, length: int) -> HTTPEvent | None:
        """HEADERS (section 6.2): all of a field section, or its beginning."""
        frame = self._frame
        flags = frame.flags
        p = self._buffer.p
        end = start + length
        padding = 0
        if flags & PADDED:
            if start == end:
                raise RemoteProtocolError(Fault.FRAME_SIZE, "padded frame without the length of its padding")
            padding = p[start]
            start += 1
        self._section_fault = False
        if flags & WITH_PRIORITY:
            if end - start < 5:
                raise RemoteProtocolError(Fault.FRAME_SIZE, "HEADERS too small for the priority in them")
            # RFC 7540 section 5.3.1. Nothing else of it has a meaning any more (section 5.3.2).
            self._section_fault = self._number(start) & 0x7FFFFFFF == frame.stream_id
            start += 5
        # What is left is the field section and the padding.
        if padding > end - start:
            raise RemoteProtocolError(Fault.PROTOCOL, "padding is longer than its frame")
        end -= padding
        stream_id = frame.stream_id
        ended = flags & END_STREAM != 0
        if start < end:
            self._budgets.full()
        if flags & END_HEADERS:
            return self._read_section(stream_id, self._payload(start, end), ended)
        if start == end:
            self._budgets.empty()
        self._section = bytearray(self._payload(start, end))
        self._section_id = stream_id
        self._section_ended = ended
        self._continuations = 0
        return None

    def _read_continuation(self, start: int, length: int) -> HTTPEvent | None:
        """CONTINUATION (section 6.10): more of a field section (CVE-2024-27316: its bytes and its frames are counted, not only
        its fields)."""
        section = self._section
        assert section is not None
        if length:
            self._budgets.full()
        elif not self._frame.flags & END_HEADERS:
            self._budgets.empty()
        self._continuations += 1
        if self._continuations > self._max_continuations or len(section) + length > self._max_section:
            raise RemoteProtocolError(Fault.EXCESS, "field section without an end")
        section += self._payload(start, start + length)
        if not self._frame.flags & END_HEADERS:
            return None
        stream_id = self._section_id
        self._section = None
        self._section_id = 0
        return self._read_section(stream_id, bytes(section), self._section_ended)

    def _read_section(self, stream_id: int, section: bytes, ended: bool) -> HTTPEvent | None:
        """A complete field section: a head or trailers."""
        is_new = self._is_server and stream_id > self._last and stream_id & 1 == 1
        stream = None if is_new else self._look(stream_id)
        if stream is None and not is_new:
            if self._is_server and stream_id < self._last and not self._is_reset(stream_id):
                # Section 5.1.1: not to be told from one that was skipped, and closed by that.
                raise RemoteProtocolError(Fault.PROTOCOL, "HEADERS on a stream with an id below that of an earlier one")
            self._judge_closed(stream_id, True, ended)
        head = self._decode(section)
        if is_new:
            return self._open(stream_id, head, ended)
        if stream is None:
            return None
        if move(stream.state, _RECEIVE_HEADERS) == FORBIDDEN:
            # Section 5.1
            return self._fail_stream(stream, Fault.STREAM_CLOSED, "HEADERS after the end of a message")
        if self._section_fault:
            return self._fail_stream(stream, Fault.PROTOCOL, "stream depends on itself")
        try:
            if stream.has_head_in:
                self._read_trailers(stream, head, ended)
                return None
            return self._read_response(stream, head, ended)
        except RemoteProtocolError as error:
            return self._fail_stream(stream, error.fault, str(error))

    def _decode(self, section: bytes) -> Head:
        """HPACK. A section that cannot be decoded ends the connection (section 4.3)."""
        decoder = self._decoder
        head = self._head
        if decoder is None or head is None:
            limits = self._limits
            decoder = self._decoder = HeaderDecoder(DEFAULT_TABLE_SIZE, limits.max_head, limits.max_fields)
            head = self._head = Head()
        head.reset()
        decoder.decode(section, head)
        return head

    def _open(self, stream_id: int, head: Head, ended: bool) -> HTTPEvent | None:
        """A request."""
        self._last = stream_id
        if stream_id > self._last_served:
            # Section 6.8: the client knows, or is going to, that nobody looks at it.
            self._remember_reset(stream_id)
            self._ignored += 1
            if self._ignored > self._max_streams:  # so many may have been under way
                self._budgets.control(self.now)
            return None
        self._budgets.opened(self.now)
        stream = new_stream(stream_id, self._peer.initial_window, self._first_window)
        stream.state = _OPEN
        if len(self._streams) >= self._max_streams:
            # Section 5.1.2
            return self._fail_stream(stream, Fault.REFUSED, "too many streams")
        self._streams[stream.key] = self._recent = stream
        stream.has_head_in = True
        stream.is_to_head = head.method == b"HEAD"
        # Every client of gRPC says this too, and few others do.
        stream.is_call = head.te and is_call(head.lines)
        try:
            if self._section_fault:
                raise RemoteProtocolError(Fault.PROTOCOL, "stream depends on itself")
            request = read_request(head, self._scheme, stream_id, ended, self._max_target, self._max_body)
        except RemoteProtocolError as error:
            if ended:
                stream.state = _HALF_CLOSED_REMOTE
            self._count_reset()
            return self._end_stream(stream, error.fault, str(error), head.method or b"", head.path or b"")
        if head.priority is not None:
            self._says_priorities = True
            self._prioritise(stream, parse_priority(head.priority, DEFAULT_PRIORITY))
        elif not self._says_priorities or stream.is_call or request.upgrade is not None:
            # Of a client that does not know that answers wait for one another, or made of messages, and perhaps without an
            # end: others would wait for that (RFC 9218 sections 10 and 11).
            stream.incremental = True
        if self._early is not None and stream_id in self._early:
            # RFC 9218 section 7: an update counts for more, even if it came before.
            self._prioritise(stream, self._early.pop(stream_id))
        if request.upgrade is not None:
            # RFC 8441: what follows is no body. The message is complete, the stream is not.
            stream.offered = request.upgrade
            self._wait(end_of_message(stream_id, None))
        elif request.body_length is not None:
            stream.in_left = request.body_length
        if ended:
            self._received_end(stream, None)
        return request

    def _read_response(self, stream: Stream, head: Head, ended: bool) -> HTTPEvent:
        """An interim or final response. Raises `RemoteProtocolError` for a fault of the stream."""
        response = read_response(head, stream.id, ended, stream.is_to_head, stream.offered, stream.accept)
        if not isinstance(response, Response):
            stream.interim += 1
            if stream.interim > self._max_interim:
                raise RemoteProtocolError(Fault.MALFORMED, "too many interim responses")
            return response
        self._budgets.opened(self.now)
        stream.has_head_in = True
        if response.status == 101:
            stream.is_tunnel = True
        elif response.body_length is not None:
            stream.in_left = response.body_length
        elif head.lengths:
            stream.in_left = 0  # and the end is still to come
        if ended:
            self._received_end(stream, None)
        if stream.offered is not None and response.status != 101:
            # The switch was refused: the request, which has no body, is complete.
            self._end_request(stream)
        return response

    def _end_request(self, stream: Stream) -> None:
        """End a request that was kept open for a tunnel."""
        if stream.state != _CLOSED:
            stream.is_ending = True
            self._queue(self._frames.header(0, DATA, END_STREAM, stream.id))
            self._ended(stream)

    def _read_trailers(self, stream: Stream, head: Head, ended: bool) -> None:
        """Trailers. Raises `RemoteProtocolError` for a fault of the stream."""
        if stream.offered is not None and (stream.is_tunnel or self._is_server):
            # Section 8.5: only DATA is understood on what was opened by CONNECT.
            raise RemoteProtocolError(Fault.PROTOCOL, "HEADERS in a tunnel")
        if not ended:
            # Section 8.1
            raise RemoteProtocolError(Fault.PROTOCOL, "second HEADERS that do not end the message")
        if stream.in_left > 0:
            # Section 8.1.1
            raise RemoteProtocolError(Fault.PROTOCOL, "less DATA than content-length says")
        self._received_end(stream, read_trailers(head))
