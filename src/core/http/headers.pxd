cimport cython

from . cimport words_c as words


@cython.final
cdef class Headers:
    cdef list _pairs
    cdef readonly bytes block
    cdef readonly long long length
    cdef readonly bint te
    cdef public bint never_indexed

    cpdef list as_pairs(self)
    cdef list _look(self)
    cpdef add(self, bytes name, bytes value)
    cpdef set(self, bytes name, bytes value)
    cpdef remove(self, bytes name)
    @cython.locals(at=Py_ssize_t)
    cpdef get(self, bytes name, default=*)
    @cython.locals(at=Py_ssize_t, end=Py_ssize_t)
    cpdef list get_all(self, bytes name)
    @cython.locals(block=bytes, copied=Headers)
    cpdef Headers copy(self)
    cpdef replace_block(self, bytes block)


@cython.locals(headers=Headers)
cpdef Headers of_block(bytes block, long long length, bint te)
@cython.locals(p="const unsigned char *", wanted="const unsigned char *", size=Py_ssize_t, length=Py_ssize_t, at=Py_ssize_t)
cpdef Py_ssize_t find_name(bytes block, bytes name, Py_ssize_t start) except -2
@cython.locals(start=Py_ssize_t, colon=Py_ssize_t, end=Py_ssize_t)
cpdef list split_block(bytes block)
