cimport cython

from .client cimport ClientChannel

cdef class Downstream(ClientChannel)

from ..events cimport Data, EndOfMessage, Event, InformationalResponse, Request, Response
from ..h1.connection cimport H1Connection, h1_connection
from ..tls.connection cimport server_connection
from .bounds cimport Bounds
from .channel cimport Channel
from .downstream_h2 cimport ClientStreams
from .hub cimport ReverseProxy
from .record cimport AccessRecord
from .relay cimport Relay


cdef double NEVER
cdef int OPEN
cdef object NEED_DATA, PAUSED, SERVER
cdef bytes PREFACE
cdef double _FIRST


cdef class Downstream(ClientChannel):
    cdef public Relay relay
    cdef public H1Connection h1
    cdef public ClientStreams streams
    cdef double _head_since
    cdef double _body_since
    cdef double _body_last
    cdef double _held_since
    cdef long long _body_bytes
    cdef bint _keep_body
    cdef bint _cycle_waits
    cdef long long _requests
    cdef bint _undecided

    # What the adapter calls
    @cython.locals(relay=Relay)
    cpdef receive_eof(self, double now)

    # What the relay calls
    @cython.locals(relay=Relay)
    cpdef send_interim(self, event)
    @cython.locals(http=H1Connection, relay=Relay)
    cdef respond(self, Response response)
    cdef bint send(self, Event event) except -1
    @cython.locals(relay=Relay)
    cdef response_sent(self)
    @cython.locals(relay=Relay)
    cpdef answer(self, answer)

    # HTTP
    cdef _speak_http_2(self, bytes scheme)
    @cython.locals(begun=bytes)
    cdef bint _decide(self) except -1
    @cython.locals(relay=Relay)
    cdef Channel _other_end(self)
    @cython.locals(http=H1Connection)
    cdef _advance_http(self)
    @cython.locals(relay=Relay)
    cdef _on_request(self, Request request)
    @cython.locals(hub=ReverseProxy, bounds=Bounds, request=Request)
    cdef bint _may_keep(self, Relay relay) except -1
    @cython.locals(http=H1Connection)
    cdef _next_request(self)
    cdef _bad_request(self, error)

    # Deadlines, other ends
    @cython.locals(relay=Relay, bounds=Bounds, http=H1Connection)
    cdef _settle(self)
    @cython.locals(relay=Relay, bounds=Bounds, slowest=double, stalled=double)
    cdef double _read_deadline(self) except -1
    cdef _lost_all(self, str end, str detail)
    @cython.locals(http=H1Connection)
    cdef _describe_end(self, AccessRecord record)
