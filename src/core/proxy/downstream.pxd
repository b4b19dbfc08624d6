cimport cython

from .channel cimport Channel

cdef class Downstream(Channel)

from ..h1.connection cimport H1Connection
from .forward cimport ClientInfo
from .relay cimport Relay


cdef class Downstream(Channel):
    cdef public object listener
    cdef public object policy
    cdef public ClientInfo client
    cdef public Relay relay
    cdef public Py_ssize_t identity
    cdef public object info
    cdef public bint plain_on_tls
    cdef object _handshake_time
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
    cpdef respond(self, response)
    cpdef send(self, event)
    @cython.locals(relay=Relay)
    cpdef response_sent(self)
    @cython.locals(relay=Relay)
    cpdef answer(self, answer)
    cpdef tunnel_closed(self)
    cpdef refuse(self)

    # HTTP
    @cython.locals(http=H1Connection)
    cdef _advance_http(self)
    @cython.locals(relay=Relay)
    cdef _on_request(self, request)
    cdef bint _may_keep(self, Relay relay) except -1
    @cython.locals(http=H1Connection)
    cdef _next_request(self)
    cdef _bad_request(self, error)

    # Deadlines, ends, the access record
    @cython.locals(http=H1Connection, relay=Relay)
    cdef _settle(self)
    @cython.locals(relay=Relay)
    cdef double _read_deadline(self)
    cdef _lost_all(self, str end, str detail)
    cdef _record(self)
    @cython.locals(http=H1Connection)
    cdef _log_connection(self, str end, str detail, int status=*)
