cimport cython

from .engine cimport CEngineContext


@cython.final
cdef class ServerContext:
    cdef object _options
    cdef readonly CEngineContext engines
    cdef readonly object tickets
    cdef readonly dict by_key
    cdef readonly dict by_leaf
    cdef readonly dict staples
    cdef readonly bint wants_peer
    cdef tuple _alpn
    cdef object __weakref__

    cpdef engines_for(self, hello)
    cpdef bytes select_alpn(self, tuple offered)
