cimport cython

from ..events cimport Request, Response
from ..http cimport words_c as words
from ..http.headers cimport Headers


cdef ManagedNames _MANAGED
cdef bytes _AUTHORIZATION, _PROTO_HTTPS, _PROTO_HTTP
cdef tuple _SCHEMES
cdef int _LONGEST, _MOST_KEPT
cdef Py_ssize_t MOST_KNOWN


@cython.final
cdef class ManagedNames:
    cdef readonly frozenset names
    cdef readonly bytes suspects


@cython.final
cdef class ClientInfo:
    cdef public bytes address
    cdef public str text
    cdef public bytes lines
    cdef public dict told
    cdef public int port
    cdef public bint https
    cdef public bytes proto
    cdef public bint trusted
    cdef public ManagedNames managed
    cdef public tuple statements
    cdef public bytes last_block
    cdef public bytes last_authority
    cdef public bytes last_lines
    cdef public bytes forwarded
    cdef public bytes judged
    cdef public bint authenticates

    cpdef tell(self, tuple statements)

@cython.locals(
    kept=list, chain=dict, name=bytes, pair=tuple, headers=Headers, element=bytes, values=list, managed=frozenset
)
cpdef Request forward_request(Request request, ClientInfo client, rules)

@cython.locals(headers=Headers, block=bytes, authority=bytes, known=dict, told=bytes, forwarded=bytes)
cpdef bint forward_plain(Request request, ClientInfo client) except -1

@cython.locals(
    p="const unsigned char *", suspects="const unsigned char *", size=Py_ssize_t, at=Py_ssize_t, start=Py_ssize_t, length=Py_ssize_t
)
cpdef bint is_plain(bytes block, ManagedNames managed) except -1

@cython.locals(value=bytes, block=bytes, found=bint)
cpdef bint authenticates_all(Headers headers, ClientInfo client) except -1

cpdef Response forward_response(Response response, rules)

@cython.locals(hops=list, name=bytes, value=bytes, told=bytes, said=list)
cpdef add_x_forwarded(list kept, dict chain, Request request, ClientInfo client)

cpdef str client_address(Request request, ClientInfo client, tuple nets)

cpdef bytes authority_port(bytes authority, bint https)
