cimport cython

cdef class ClientStreams

from ..events cimport Data, EndOfMessage, Event, Request, Response, StreamReset
from ..h2.connection cimport H2Connection
from .bounds cimport Bounds
from .channel cimport Channel
from .client cimport ClientChannel
from .relay cimport Relay
from .streams cimport Stream, Streams


cdef double GRACE, NEVER
cdef int CANCEL, INTERNAL_ERROR, OPEN


cdef class ClientStream(Stream):
    cdef public Relay relay
    cdef double _body_since
    cdef double _body_last
    cdef double _held_since
    cdef long long _body_bytes

    @cython.locals(data=Data)
    cdef receive(self, Event event)
    @cython.locals(relay=Relay)
    cdef bint is_blocked(self) except -1
    @cython.locals(relay=Relay, size=Py_ssize_t, data=Data)
    cdef pass_on(self, Event event)
    @cython.locals(streams=ClientStreams)
    cdef response_sent(self)
    @cython.locals(relay=Relay, request=Request, response=Response)
    cpdef answer(self, answer)
    @cython.locals(streams=Streams)
    cpdef reset(self, int code)
    @cython.locals(relay=Relay, bounds=Bounds, slowest=double)
    cpdef double deadline(self) except -1


cdef class ClientStreams(Streams):
    cdef public ClientChannel client
    cdef public long long requests
    cdef list _answered
    cdef long long _most
    cdef bint _busy
    cdef bint _stopping
    cdef double _idle_since
    cdef double _head_since
    cdef double _settings_by
    cdef double _final_at
    cdef double _refuse_at

    @cython.locals(found=Stream, data=Data, end=EndOfMessage)
    cdef on_event(self, Event event)
    @cython.locals(stream=ClientStream, client=ClientChannel, relay=Relay, bounds=Bounds, refused=StreamReset)
    cdef _on_request(self, Request request)
    @cython.locals(stream=ClientStream, relay=Relay)
    cdef _on_reset(self, StreamReset event)
    @cython.locals(stream=ClientStream, relay=Relay)
    cpdef lost(self, str end, str detail)
    @cython.locals(stream=ClientStream)
    cpdef client_left(self)
    cdef answer_queued(self, ClientStream stream)
    @cython.locals(answered=list, stream=ClientStream, waits=bint)
    cdef settle(self)
    @cython.locals(channel=Channel, high_water=Py_ssize_t, waiting=Py_ssize_t)
    cdef _pace(self)
    cpdef stop(self)
    @cython.locals(when=double, bounds=Bounds)
    cdef double deadline(self) except -1
    @cython.locals(now=double, bounds=Bounds)
    cpdef too_slow(self)
    cdef _give_up(self, fault, str message)
    @cython.locals(relay=Relay, when=double)
    cpdef double check_stream(self, Stream stream, double now) except -1
