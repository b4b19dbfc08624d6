cimport cython

from .channel cimport Channel

cdef class ClientChannel(Channel)

from ..events cimport ClientHelloReceived, Event, HandshakeCompleted, Request, StreamReset
from .balance cimport ServerGroup
from .exchange cimport new_exchange
from .forward cimport ClientInfo
from .hub cimport ReverseProxy
from ..tls.hello cimport ClientHello
from ..tls.info cimport TLSInfo
from .policy cimport Identity, NameTable, Policy
from .record cimport AccessRecord, new_record
from .relay cimport Relay
from .side cimport Side


cdef double _IDLE_RESTART, _REST
cdef Py_ssize_t _WEIGHT
cdef Py_ssize_t _ELSEWHERE


cdef class ClientChannel(Channel):
    cdef public object listener
    cdef public Policy policy
    cdef public ClientInfo client
    cdef public Py_ssize_t identity
    cdef public str denied
    cdef object _rule
    cdef public TLSInfo info
    cdef public tuple destination
    cdef public set own_servers
    cdef object _header
    cdef public bint plain_on_tls
    cdef public str ja4
    cdef tuple _refusal
    cdef object _handshake_time
    cdef bint _recorded
    cdef AccessRecord _facts
    cdef bint _asked
    cdef bint _end_logged
    cdef object _wanted
    cdef NameTable _names
    cdef double _accepted
    cdef double _idle_since
    cdef bint _rested
    cdef list _unlogged
    cdef public Py_ssize_t unlogged_size
    cdef public bytes admitted
    cdef public str admitted_host

    cdef _set_up_client(self, ReverseProxy hub, listener, tuple peer)
    cdef _comes_from(self, tuple place)
    cpdef refuse(self)

    # The PROXY header
    @cython.locals(groups=set, group=ServerGroup)
    cdef _closed(self, how)
    cdef _received_first(self, bytes data)
    cdef _begin(self)
    cdef str _stage(self)

    # TLS
    @cython.locals(hello=ClientHello, info=TLSInfo)
    cdef _on_tls_event(self, event)
    cpdef use_identity(self, identity, double now)
    cpdef certificate_failed(self, double now)
    @cython.locals(names=NameTable)
    cpdef bint serves(self, str host) except -1
    @cython.locals(index=Py_ssize_t, alert=int, passed_as=str)
    cdef _consult_hook(self, ClientHello hello)
    @cython.locals(policy=Policy, name=str, passed_as=str)
    cdef _choose_identity(self, ClientHello hello)
    @cython.locals(hello=ClientHello, policy=Policy, name=str, index=Py_ssize_t)
    cdef _use_known(self)
    @cython.locals(identity=Identity)
    cdef _use_index(self, ClientHello hello, Py_ssize_t index)
    cdef _ask(self, ClientHello hello, wanted)
    cdef bint _waits(self) except -1
    cdef _refuse_handshake(self, int alert)
    cdef _use_context(self, Identity identity)
    cdef _take_from_elsewhere(self, identity)
    cdef _judge(self, info)
    cdef _pass_on(self, ClientHello hello, str name)
    cdef _speak(self, bytes protocol)

    # Requests
    cdef request_begins(self, double idle_since)
    @cython.locals(end=double)
    cdef double idle_until(self, double since) except -1
    cpdef bint rest(self) except -1
    @cython.locals(relay=Relay, record=AccessRecord)
    cpdef Relay new_relay(self, Side side, Request request)
    cdef send_on(self, Relay relay, Request request)
    cdef bint is_old(self) except -1

    # The access record
    @cython.locals(relay=Relay)
    cdef _flushed(self)
    cdef log_later(self, Relay relay)
    cdef log_when_taken(self, Relay relay)
    @cython.locals(relays=list, relay=Relay, count=Py_ssize_t)
    cdef log_taken(self)
    @cython.locals(relay=Relay, relays=list)
    cdef _log_unlogged(self, str end, str detail)
    @cython.locals(facts=AccessRecord)
    cdef AccessRecord _record(self)
    @cython.locals(record=AccessRecord)
    cpdef log_end(self, str end, str detail, int status=*)
    cdef _describe_end(self, AccessRecord record)
    @cython.locals(record=AccessRecord)
    cpdef log_refused(self, StreamReset event)
