cimport cython

from ..buffer cimport ReceiveBuffer
from ..events cimport EndOfMessage, Response, StreamReset
from ..http.headers cimport Headers
from ..http.outgoing cimport refusal_fields
from .frames cimport FrameReader
from .messages cimport write_response
from .priority cimport parse_priority
from .sending cimport Sending
from .settings cimport Settings
from .states cimport move
from .stream cimport Stream

cdef int _CLOSED, _RECEIVE_END
cdef int ACK, CANCEL, DATA, END_STREAM, DEFAULT_PRIORITY, FORBIDDEN, REFUSED_STREAM


cdef class Control(Sending):
    cdef readonly bint settings_acknowledged
    cdef readonly bint peer_going
    cdef readonly long long pings_answered
    cdef ReceiveBuffer _buffer
    cdef FrameReader _frame
    cdef bint _says_priorities
    cdef bint _settings_seen
    cdef dict _early
    cdef long long _last
    cdef object _first_waiting
    cdef list _waiting

    @cython.locals(piece=bytes)
    cdef bytes _payload(self, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(p="const unsigned char *", value="long long")
    cdef long long _number(self, Py_ssize_t start) except -1
    cdef bint _is_idle(self, long long stream_id) except -1
    cdef _wait(self, event)
    @cython.locals(kept=list)
    cdef _forget_waiting(self, long long stream_id)

    # The end of streams
    cdef StreamReset _fail_stream(self, Stream stream, fault, message)
    cdef _count_reset(self)
    cdef StreamReset _end_stream(self, Stream stream, fault, message, bytes method, bytes target)
    @cython.locals(text=bytes, size=Py_ssize_t, ended=bint, unread="long long", section=bytes)
    cdef _answer(self, Stream stream, int status, message)
    cdef _read_reset(self, Py_ssize_t start)
    cdef bint _is_reset(self, long long stream_id) except -1
    @cython.locals(late=dict)
    cdef bint _is_late(self, long long stream_id) except -1
    @cython.locals(lately=dict)
    cdef _judge_closed(self, long long stream_id, bint is_head, bint ends)
    @cython.locals(state=int)
    cdef _received_end(self, Stream stream, Headers trailers)

    # The connection
    @cython.locals(peer=Settings, window="long long")
    cdef _read_settings(self, Py_ssize_t start, Py_ssize_t length)
    @cython.locals(peer=Settings, most="long long", difference="long long", stream=Stream)
    cdef _move_windows(self, long long before)
    @cython.locals(stream=Stream, first="long long", excess="long long")
    cdef _shrink_windows(self)
    @cython.locals(increment="long long", stream_id="long long", stream=Stream)
    cdef _read_window_update(self, Py_ssize_t start)
    cdef _read_ping(self, Py_ssize_t start)
    @cython.locals(last="long long", stream=Stream)
    cdef _read_goaway(self, Py_ssize_t start)

    # Priorities
    @cython.locals(stream_id="long long")
    cdef _read_priority(self, Py_ssize_t start, Py_ssize_t length)
    cdef _fail_any(self, long long stream_id, fault, message)
    @cython.locals(stream_id="long long", priority=int)
    cdef _read_priority_update(self, Py_ssize_t start, Py_ssize_t length)
    cdef _keep_priority(self, long long stream_id, int priority)


@cython.locals(event=EndOfMessage)
cpdef EndOfMessage end_of_message(long long stream_id, Headers trailers)
