cimport cython

from ..events cimport Request
from ..http.authority cimport host_of
from ..http.grammar cimport decimal, find_byte
from ..http.path cimport normalise
from .balance cimport ServerGroup
from .client cimport ClientChannel
from .exchange cimport Exchange
from .forward cimport forward_plain, forward_request
from .hub cimport ReverseProxy
from .policy cimport Policy, RouteEntry
from .relay cimport Relay


cdef bytes _ASTERISK, _MAX_FORWARDS, _OPTIONS, _ROOT, _TRACE


@cython.locals(
    host=str, policy=Policy, exchange=Exchange, hub=ReverseProxy, target=bytes, end=Py_ssize_t, found=RouteEntry,
    group=ServerGroup
)
cpdef route(ClientChannel client, Relay relay, Request request)

cpdef without_tls(ClientChannel client, Request request, str host)

@cython.locals(target=bytes)
cpdef by_hook(ReverseProxy hub, Policy policy, Exchange exchange)

@cython.locals(value=bytes, left="long long")
cpdef count_down(Request request)

cpdef acme_answer(ClientChannel client, Request request)

cpdef redirect(Request request, port)
