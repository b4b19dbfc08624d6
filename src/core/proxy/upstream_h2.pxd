cimport cython

cdef class ServerStreams

from ..events cimport Data, Event, StreamReset
from ..h2.connection cimport H2Connection
from .bounds cimport Bounds
from .relay cimport Relay
from .streams cimport Stream, Streams
from .upstream cimport Upstream


cdef double NEVER
cdef int CANCEL, OPEN, REFUSED_STREAM


cdef class ServerStream(Stream):
    cdef public Relay relay
    cdef double _asked_at
    cdef double _read_at
    cdef bint _responding
    cdef bint _cut_off

    @cython.locals(streams=Streams, relay=Relay)
    cpdef open(self)
    @cython.locals(streams=Streams)
    cdef request_sent(self)
    @cython.locals(streams=ServerStreams)
    cpdef sent_last(self)
    cdef _gone(self, bint cut_off)
    cdef receive(self, Event event)
    @cython.locals(relay=Relay, size=Py_ssize_t, data=Data)
    cdef pass_on(self, Event event)
    @cython.locals(relay=Relay, waiting=list, answered=bint)
    cpdef failed(self, str end, str detail, bint untouched, bint meant)
    cpdef bint is_responding(self) except -1
    cpdef bint has_heard_nothing(self, double last_read) except -1
    @cython.locals(relay=Relay, bounds=Bounds, longest=double)
    cpdef double deadline(self) except -1


cdef class ServerStreams(Streams):
    cdef public Upstream upstream
    cdef public list pending
    cdef public list leaving
    cdef public bint is_open
    cdef long long _resets
    cdef double _reset_at

    cpdef bint has_room(self) except -1
    cdef bint _is_calm(self) except -1
    cpdef reset(self, ServerStream stream)
    cdef bint is_choked(self) except -1
    @cython.locals(stream=ServerStream)
    cpdef join(self, Relay relay)
    @cython.locals(limit="long long")
    cdef advance(self)
    @cython.locals(stream=ServerStream)
    cdef _open_pending(self)
    cpdef list take_pending(self)
    cpdef forget_pending(self, ServerStream stream)
    @cython.locals(stream=ServerStream, data=Data)
    cdef on_event(self, Event event)
    @cython.locals(stream=ServerStream, relay=Relay)
    cpdef fail_all(self, str end, str detail)
    cdef settle(self)
    @cython.locals(leaving=list, stream=ServerStream)
    cdef _let_go(self)
    cpdef drain(self)
    cpdef close_idle(self)
    cdef double deadline(self) except -1
    cpdef too_slow(self)
    @cython.locals(when=double, relay=Relay)
    cpdef double check_stream(self, Stream stream, double now) except -1
    cdef _end(self, ServerStream stream, str end, str detail)
