cimport cython

from .channel cimport Channel

cdef class Upstream(Channel)

from ..events cimport Data, EndOfMessage, Event, HandshakeCompleted, InformationalResponse, Response
from ..h1.connection cimport H1Connection, h1_connection
from ..tls.connection cimport TLSConnection
from .balance cimport Server, ServerGroup
from .bounds cimport Bounds
from .hub cimport ReverseProxy
from .relay cimport Relay
from .upstream_h2 cimport ServerStreams


cdef double NEVER
cdef int CLOSED, OPEN
cdef int _SESSION_CHANCES
cdef object CLIENT, NEED_DATA, PAUSED
cdef object ABORT, BOTH


cdef class Upstream(Channel):
    cdef public ServerGroup group
    cdef public Server server
    cdef public Relay relay
    cdef public H1Connection h1
    cdef public ServerStreams streams
    cdef public Channel owner
    cdef public double idle_since
    cdef public double last_read
    cdef public bint answered
    cdef public bint asked
    cdef double _opened
    cdef double _request_sent
    cdef bint _responding
    cdef int _session_chances
    cdef double _verified_at

    # What the adapter calls
    @cython.locals(relay=Relay)
    cpdef bint wants_pieces(self) except -1

    # What the relay calls
    cpdef belong_to(self, client)
    @cython.locals(streams=ServerStreams)
    cpdef join(self, Relay relay)
    cpdef bint has_room(self) except -1
    cpdef bint is_open(self) except -1
    @cython.locals(h1=H1Connection)
    cdef bint send(self, Event event) except -1
    cdef take(self, Relay relay)
    @cython.locals(http=H1Connection)
    cdef finished(self, bint request_ended)
    cpdef keep_session(self)

    # Events
    cdef bint _stands(self) except -1
    cdef _ready(self)
    @cython.locals(server=Server, streams=ServerStreams, relay=Relay)
    cdef _speak_http_2(self)
    cdef ServerStreams _share(self)
    @cython.locals(streams=ServerStreams, relay=Relay)
    cdef _decline_http_2(self)
    @cython.locals(relay=Relay)
    cdef Channel _other_end(self)
    @cython.locals(http=H1Connection, relay=Relay)
    cdef _advance_http(self)
    @cython.locals(relay=Relay)
    cdef _settle(self)
    @cython.locals(relay=Relay, bounds=Bounds)
    cdef double _read_deadline(self) except -1
    @cython.locals(streams=ServerStreams, relay=Relay, waiting=Relay)
    cdef _fail_connect(self, str detail, bint timed_out)
    cdef _give_up(self, str end, str detail)
    @cython.locals(relay=Relay)
    cdef _tell_relay(self, str end, str detail)
