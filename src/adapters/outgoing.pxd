from .link cimport Link


cdef class OutgoingLink(Link):
    cdef public list addresses
    cdef public bint connecting

    cpdef open(self, address)
    cpdef connect(self, addresses)
    cpdef connect_failed(self, str reason)
    cdef _connect_next(self, str reason)
    cdef _connected(self)
