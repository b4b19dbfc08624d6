cimport cython

from ..events cimport Request
from .downstream cimport Downstream
from .relay cimport Relay


@cython.locals(host=str, path=str)
cpdef route(Downstream client, Relay relay, Request request)

cpdef redirect(Request request, port)

cpdef str host_of(bytes authority)
