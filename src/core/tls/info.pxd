cimport cython


@cython.final
cdef class TLSInfo:
    cdef readonly str version
    cdef readonly str cipher
    cdef readonly str group
    cdef readonly str sni
    cdef readonly bytes alpn
    cdef readonly bint resumed
    cdef readonly object peer

    cdef _fill(self, tuple agreed)
    cpdef tuple _values(self)


@cython.locals(info=TLSInfo)
cpdef TLSInfo tls_info(tuple agreed)
