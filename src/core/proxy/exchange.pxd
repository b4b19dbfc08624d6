cimport cython

from ..events cimport Request
from .record cimport AccessRecord


@cython.final
cdef class Exchange:
    cdef public Request request
    cdef public object route
    cdef public str backend
    cdef public AccessRecord record
    cdef public object tls


@cython.locals(exchange=Exchange)
cpdef Exchange new_exchange(Request request, AccessRecord record, tls)
