cimport cython

cdef class Streams

from ..events cimport Data, EndOfMessage, Event
from ..h2.connection cimport H2Connection
from .channel cimport Channel
from .hub cimport ReverseProxy
from .side cimport Side


cdef double NEVER
cdef int OPEN
cdef object NEED_DATA, PAUSED
cdef Py_ssize_t _SMALL, _STREAM_LOW, ALL_HIGH, STREAM_HIGH


cdef class Stream(Side):
    cdef public long long id
    cdef public object key
    cdef public bint held
    cdef public bint full
    cdef public double seen_at
    cdef public long long seen_sent
    cdef public long long seen_total
    cdef public Streams streams
    cdef list _waiting

    cdef begin(self, Streams streams, long long stream_id)
    cdef bint is_crowded(self) except -1
    @cython.locals(waiting=list)
    cdef receive(self, Event event)
    cdef bint is_blocked(self) except -1
    @cython.locals(waiting=list)
    cdef deliver(self)
    cdef pass_on(self, Event event)
    cdef drop_waiting(self)
    @cython.locals(streams=Streams, h2=H2Connection, data=Data, end=EndOfMessage, total="long long")
    cdef bint send(self, Event event) except -1
    cdef hold_other(self)
    cdef release_other(self)
    @cython.locals(h2=H2Connection, taken="long long", total="long long")
    cpdef bint is_stalled(self, double now) except -1


cdef class Streams:
    cdef public Channel channel
    cdef public ReverseProxy hub
    cdef public H2Connection h2
    cdef public dict by_id
    cdef public double check_at
    cdef Stream _recent
    cdef list _full
    cdef list _woken

    cdef add(self, Stream stream)
    @cython.locals(stream=Stream)
    cdef Stream find(self, long long stream_id)
    cdef bint remove(self, Stream stream) except -1
    cpdef list remove_all(self)
    @cython.locals(channel=Channel, h2=H2Connection)
    cdef advance(self)
    cdef wake(self, Stream stream)
    @cython.locals(woken=list, stream=Stream)
    cdef _deliver(self)
    cdef filled(self, Stream stream)
    @cython.locals(full=list, stream=Stream)
    cdef settle(self)
    cdef check_by(self, double when)
    @cython.locals(now=double, earliest=double, when=double, stream=Stream)
    cpdef check(self)

    cdef on_event(self, Event event)
    cpdef broken(self, error)
    cpdef double check_stream(self, Stream stream, double now) except -1
