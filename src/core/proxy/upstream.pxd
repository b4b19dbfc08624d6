cimport cython

from .channel cimport Channel

cdef class Upstream(Channel)

from ..h1.connection cimport H1Connection
from .balance cimport Server, ServerGroup
from .relay cimport Relay


cdef class Upstream(Channel):
    cdef public ServerGroup group
    cdef public Server server
    cdef public Relay relay
    cdef public double idle_since
    cdef public double last_read
    cdef public bint answered
    cdef double _opened
    cdef double _request_sent
    cdef bint _responding
    cdef bint _asked

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
    @cython.locals(relay=Relay)
    cdef double _read_deadline(self)
    cdef _fail_connect(self, str detail, bint timed_out)
    cdef _give_up(self, str end, str detail)
    cdef _tell_relay(self, str end, str detail)
