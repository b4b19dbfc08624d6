cimport cython


@cython.final
cdef class ReceiveBuffer:
    cdef public object data
    cdef const unsigned char *p
    cdef readonly Py_ssize_t end
    cdef public Py_ssize_t start
    cdef public Py_ssize_t scanned

    @cython.locals(kept=bytearray)
    cpdef append(self, bytes data)
    cpdef Py_ssize_t available(self) noexcept
    @cython.locals(start=Py_ssize_t, end=Py_ssize_t, piece=bytes)
    cpdef bytes take(self, long long most)
    cpdef bytes peek(self)
    @cython.locals(nothing=bytes)
    cpdef clear(self)
