cimport cython

from ..events cimport Request, Response
from ..http.headers cimport Headers


cdef class ClientInfo:
    cdef public bytes address
    cdef public int port
    cdef public bint https
    cdef public bytes proto
    cdef public bint trusted
    cdef public bytes element

@cython.locals(kept=list, chain=dict, name=bytes, pair=tuple, headers=Headers, element=bytes, values=list)
cpdef Request forward_request(Request request, ClientInfo client, rules)

@cython.locals(headers=Headers)
cpdef Response forward_response(Response response, rules)

@cython.locals(hops=list, name=bytes, value=bytes, told=bytes, said=list)
cpdef add_x_forwarded(list kept, dict chain, Request request, ClientInfo client)

cpdef str client_address(Request request, ClientInfo client, tuple nets)

cpdef bytes authority_port(bytes authority, bint https)
