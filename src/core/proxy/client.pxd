cimport cython

from .channel cimport Channel

cdef class ClientChannel(Channel)

from ..events cimport ClientHelloReceived, Event, HandshakeCompleted, Request, StreamReset
from .balance cimport ServerGroup
from .exchange cimport new_exchange
from .forward cimport ClientInfo
from .hub cimport ReverseProxy
from .policy cimport Policy
from .record cimport AccessRecord
from .relay cimport Relay
from .side cimport Side


cdef double _IDLE_RESTART


cdef class ClientChannel(Channel):
    cdef public object listener
    cdef public Policy policy
    cdef public ClientInfo client
    cdef public Py_ssize_t identity
    cdef public str denied
    cdef public object info
    cdef public bint plain_on_tls
    cdef object _handshake_time
    cdef AccessRecord _facts
    cdef double _accepted
    cdef double _idle_since
    cdef list _unlogged
    cdef list _marks

    cpdef refuse(self)

    # TLS
    cdef _choose_identity(self, str name)
    cdef _judge(self, rule, info)
    cdef _speak(self, bytes protocol)

    # Requests
    cpdef request_begins(self, double idle_since)
    @cython.locals(relay=Relay, record=AccessRecord)
    cpdef Relay new_relay(self, Side side, Request request)
    cpdef send_on(self, Relay relay, Request request)
    cpdef bint is_old(self) except -1

    # The access record
    @cython.locals(relay=Relay)
    cdef _flushed(self)
    cpdef log_later(self, Relay relay)
    @cython.locals(mark="long long")
    cpdef log_when_taken(self, Relay relay)
    @cython.locals(marks=list, relays=list, relay=Relay, count=Py_ssize_t)
    cpdef log_taken(self)
    @cython.locals(relay=Relay, relays=list)
    cdef _log_unlogged(self, str end, str detail)
    @cython.locals(facts=AccessRecord)
    cdef AccessRecord _record(self)
    @cython.locals(record=AccessRecord)
    cpdef log_end(self, str end, str detail, int status=*)
    cdef _describe_end(self, AccessRecord record)
    @cython.locals(record=AccessRecord)
    cpdef log_refused(self, StreamReset event)
