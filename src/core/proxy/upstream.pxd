cimport cython

from .channel cimport Channel

cdef class Upstream(Channel)

from ..events cimport Data, EndOfMessage, Event, HandshakeCompleted, InformationalResponse, Response
from ..h1.connection cimport H1Connection
from ..tls.connection cimport TLSConnection
from .balance cimport Server, ServerGroup
from .bounds cimport Bounds
from .hub cimport ReverseProxy
from .relay cimport Relay


cdef double NEVER
cdef int CLOSED, OPEN
cdef object NEED_DATA, PAUSED


cdef class Upstream(Channel):
    cdef public ServerGroup group
    cdef public Server server
    cdef public Relay relay
    cdef public double idle_since
    cdef public double last_read
    cdef public bint answered
    cdef public bint asked
    cdef double _opened
    cdef double _request_sent
    cdef bint _responding

    # What the relay calls
    cpdef take(self, Relay relay)
    cpdef request_sent(self)
    @cython.locals(http=H1Connection)
    cpdef finished(self, bint request_ended)

    # Events
    cdef _ready(self)
    @cython.locals(http=H1Connection, relay=Relay)
    cdef _advance_http(self)
    @cython.locals(relay=Relay)
    cdef _settle(self)
    @cython.locals(relay=Relay, bounds=Bounds)
    cdef double _read_deadline(self) except -1
    cdef _fail_connect(self, str detail, bint timed_out)
    cdef _give_up(self, str end, str detail)
    cdef _tell_relay(self, str end, str detail)
