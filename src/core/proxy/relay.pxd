cimport cython

cdef class Relay

from ..events cimport Data, EndOfMessage, Event, InformationalResponse, Request, Response, data_event
from .balance cimport Server, ServerGroup
from .bounds cimport Bounds
from .client cimport ClientChannel
from .exchange cimport Exchange
from .forward cimport authenticates_all, forward_response
from .hub cimport ReverseProxy
from .policy cimport Policy
from .record cimport AccessRecord
from .side cimport Side
from .upstream cimport Upstream


cdef double NEVER
cdef frozenset _SAFE
cdef EndOfMessage END
cdef Py_ssize_t _KEPT_BODY, _KEPT_TOTAL


cdef class Relay:
    cdef public ReverseProxy hub
    cdef public Policy policy
    cdef public Side client
    cdef public Exchange exchange
    cdef public AccessRecord record
    cdef public double started
    cdef public double last_activity
    cdef public double expects_since
    cdef public Side upstream
    cdef public bint request_ended
    cdef public bint response_started
    cdef public bint response_ended
    cdef public bint tunnel
    cdef public bint finished
    cdef public Py_ssize_t weight
    cdef public long long last_byte
    cdef ServerGroup _group
    cdef Server _server
    cdef list _tried
    cdef int _attempts
    cdef bint _turned_away
    cdef bint _fresh
    cdef bint _reused
    cdef bint _idle_ok
    cdef bytearray _kept
    cdef EndOfMessage _end

    cdef asked(self)
    cdef begin(self, ReverseProxy hub, Policy policy, Side client, Exchange exchange)

    # Finding a server
    @cython.locals(request=Request, method=bytes, safe=bint)
    cdef start(self, ServerGroup group)
    @cython.locals(
        hub=ReverseProxy, group=ServerGroup, server=Server, bounds=Bounds, longest=double, idle=Upstream, shared=Upstream,
        opened=Upstream
    )
    cdef _connect(self)
    @cython.locals(opened=Upstream)
    cdef _probe(self, ServerGroup group, Server server)
    cpdef shares(self, Side stream)
    cpdef connect_failed(self, str detail, bint timed_out)
    cpdef connect_again(self)
    @cython.locals(request=Request, client=ClientChannel, kept=bytearray)
    cdef upstream_ready(self, Side upstream)
    @cython.locals(group=ServerGroup, request=Request)
    cpdef bint is_call(self) except -1

    # What the client does
    cdef request_data(self, Data event)
    @cython.locals(upstream=Side)
    cdef request_end(self, EndOfMessage event)
    cpdef client_gone(self, str end, str detail)
    cpdef client_broke(self, int status, str end, str detail)

    # What the server does
    cdef interim(self, event)
    @cython.locals(hub=ReverseProxy, response=Response, policy=Policy)
    cdef response(self, Response event)
    cdef response_data(self, Data event)
    @cython.locals(upstream=Side)
    cdef response_end(self, EndOfMessage event)
    @cython.locals(untouched=bint, crossed=bint)
    cpdef upstream_failed(self, str end, str detail, bint answered, bint asked)

    # Ends
    cpdef fail(self, int status, str end, str detail)
    cpdef answer(self, answer, str end, str detail=*)
    cdef finish(self, str end=*, str detail=*)
    @cython.locals(kept=bytearray, size=Py_ssize_t, hub=ReverseProxy)
    cdef _body_due(self)
    cdef _keep(self, data)
    @cython.locals(kept=bytearray)
    cdef _forget_kept(self)
    @cython.locals(sent=bint)
    cdef bint _to_server(self, Side upstream, Event event) except -1
    cdef bint _to_client(self, Event event) except -1
    @cython.locals(server=Server)
    cdef _leave_server(self)
    @cython.locals(upstream=Side)
    cdef _tunnel_side_ended(self)
    @cython.locals(upstream=Side)
    cdef _part(self)
    @cython.locals(upstream=Side)
    cdef _drop_upstream(self)
