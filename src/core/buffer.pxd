cimport cython


cdef class ReceiveBuffer:
    cdef public object data
    cdef public Py_ssize_t start
    cdef public Py_ssize_t scanned

    cpdef append(self, bytes data)
    cpdef Py_ssize_t available(self) except -2
    @cython.locals(p="const unsigned char *", start=Py_ssize_t, end=Py_ssize_t)
    cpdef bytes take(self, long long most)
    cpdef bytes peek(self)
    cpdef clear(self)
