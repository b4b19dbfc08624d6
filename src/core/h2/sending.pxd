cimport cython

from ..http.connection cimport HTTPConnection
from .budgets cimport Budgets
from .encoder cimport HeaderEncoder
from .frames cimport FrameWriter
from .messages cimport write_trailers
from .priority cimport Schedule
from .settings cimport Settings
from .states cimport move
from .stream cimport Stream
from .windows cimport Windows

cdef int _CLOSED, _HALF_CLOSED_LOCAL, _HALF_CLOSED_REMOTE, _SEND_END
cdef int DATA, END_STREAM, FORBIDDEN, INTERNAL_ERROR, NO_ERROR, RST_STREAM, WINDOW_UPDATE
cdef Py_ssize_t _MAX_DATA


cdef class Sending(HTTPConnection):
    cdef public double now
    cdef readonly Py_ssize_t queued_total
    cdef readonly long long taken_total
    cdef object _limits
    cdef bint _is_server
    cdef object _error
    cdef Settings _peer
    cdef Budgets _budgets
    cdef FrameWriter _frames
    cdef HeaderEncoder _encoder
    cdef Windows _windows
    cdef long long _first_window
    cdef long long _largest_window
    cdef long long _lendable
    cdef dict _streams
    cdef Stream _recent
    cdef Schedule _schedule
    cdef Py_ssize_t _owed
    cdef dict _reset_lately
    cdef dict _late
    cdef Py_ssize_t _remembered
    cdef long long _reset_before
    cdef dict _unpaid

    # Output
    @cython.locals(schedule=Schedule, windows=Windows, left=Py_ssize_t)
    cdef _pull(self)
    @cython.locals(schedule=Schedule)
    cpdef bint wants_to_send(self) except -1
    @cython.locals(size=Py_ssize_t, window="long long", is_held=bint, is_last=bint, is_end=bint, out=list)
    cdef Py_ssize_t _send_frame(self, Schedule schedule, Stream stream, Py_ssize_t most) except -1
    cdef _send_trailers(self, Stream stream)
    cdef _queue_owed(self, bytes frame)
    @cython.locals(encoder=HeaderEncoder)
    cdef HeaderEncoder _writer(self)
    @cython.locals(peer=Settings)
    cdef _resize_table(self, HeaderEncoder encoder)

    # Streams
    @cython.locals(stream=Stream)
    cdef Stream _look(self, long long stream_id)
    @cython.locals(schedule=Schedule)
    cdef _wake(self, Stream stream)
    @cython.locals(ready=bint)
    cdef _prioritise(self, Stream stream, int priority)
    @cython.locals(state=int)
    cdef _ended(self, Stream stream)
    @cython.locals(late=dict)
    cdef _let_go(self, Stream stream)
    cdef _refuse(self, long long stream_id)
    cdef _reset(self, Stream stream, long long code)
    @cython.locals(lately=dict, oldest="long long")
    cdef _remember_reset(self, long long stream_id)
    @cython.locals(unread="long long")
    cdef _abandon(self, Stream stream)
    cdef _close(self, Stream stream)

    # Windows of what is received
    @cython.locals(increment="long long")
    cdef _credit(self, long long size)
    @cython.locals(increment="long long")
    cdef _credit_stream(self, Stream stream, long long size)
    @cython.locals(back="long long")
    cdef _take_back(self, Stream stream)
    @cython.locals(more="long long")
    cdef long long _lend(self, Stream stream) except -1
