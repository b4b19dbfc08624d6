from .link cimport Link


cdef class OutgoingLink(Link):
    cdef public list addresses
    cdef public bint connecting

    cpdef open(self, address)
    cpdef connect(self, addresses)
    cpdef connect_failed(self, str reason)
    cpdef expire(self)
    cdef _connect_next(self, str reason)
    cdef _have_called(self, double seconds)
    cdef _connected(self)
