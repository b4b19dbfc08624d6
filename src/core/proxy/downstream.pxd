cimport cython

from .channel cimport Channel

cdef class Downstream(Channel)

from ..events cimport (
    ClientHelloReceived,
    Data,
    EndOfMessage,
    Event,
    HandshakeCompleted,
    InformationalResponse,
    Request,
    Response,
)
from ..h1.connection cimport H1Connection
from ..tls.connection cimport TLSConnection
from .balance cimport ServerGroup
from .bounds cimport Bounds
from .exchange cimport new_exchange
from .forward cimport ClientInfo
from .hub cimport ReverseProxy
from .policy cimport Policy
from .record cimport AccessRecord
from .relay cimport Relay


cdef double NEVER, _IDLE_RESTART
cdef int OPEN
cdef object NEED_DATA, PAUSED


cdef class Downstream(Channel):
    cdef public object listener
    cdef public Policy policy
    cdef public ClientInfo client
    cdef public Relay relay
    cdef public Py_ssize_t identity
    cdef public object info
    cdef public bint plain_on_tls
    cdef object _handshake_time
    cdef AccessRecord _facts
    cdef double _accepted
    cdef double _idle_since
    cdef double _head_since
    cdef double _body_since
    cdef double _body_last
    cdef double _held_since
    cdef long long _body_bytes
    cdef bint _keep_body
    cdef bint _cycle_waits
    cdef long long _requests
    cdef list _unlogged

    # What the adapter calls
    @cython.locals(relay=Relay)
    cpdef receive_eof(self, double now)

    # What the relay calls
    cpdef send_interim(self, event)
    @cython.locals(http=H1Connection, relay=Relay)
    cpdef respond(self, Response response)
    cpdef send(self, Event event)
    @cython.locals(relay=Relay)
    cpdef response_sent(self)
    @cython.locals(relay=Relay)
    cpdef answer(self, answer)
    cpdef tunnel_closed(self)
    cpdef refuse(self)

    # HTTP
    @cython.locals(http=H1Connection)
    cdef _advance_http(self)
    @cython.locals(relay=Relay, record=AccessRecord)
    cdef _on_request(self, Request request)
    @cython.locals(hub=ReverseProxy, bounds=Bounds, request=Request)
    cdef bint _may_keep(self, Relay relay) except -1
    @cython.locals(http=H1Connection)
    cdef _next_request(self)
    cdef _bad_request(self, error)

    # Deadlines, ends, the access record
    @cython.locals(http=H1Connection, relay=Relay, bounds=Bounds)
    cdef _settle(self)
    @cython.locals(relay=Relay, bounds=Bounds, slowest=double, stalled=double)
    cdef double _read_deadline(self) except -1
    cdef _log_later(self, Relay relay)
    @cython.locals(relay=Relay, relays=list)
    cdef _log_unlogged(self, str end, str detail)
    @cython.locals(relay=Relay)
    cdef _flushed(self)
    cdef _lost_all(self, str end, str detail)
    @cython.locals(facts=AccessRecord)
    cdef AccessRecord _record(self)
    @cython.locals(http=H1Connection, record=AccessRecord)
    cdef _log_connection(self, str end, str detail, int status=*)
