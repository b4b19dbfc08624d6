cimport cython

from .grammar cimport put

cdef list _NAMES, _VALUES
cdef bytes _POSSIBLE

cpdef bytes folded(bytes name)
cpdef bint kept(bytes name) except -1
cpdef bint allowed_in_trailers(bytes name) except -1
@cython.locals(
    p="const unsigned char *", n="const unsigned char *", possible="const unsigned char *", size=Py_ssize_t, index=int,
    at=Py_ssize_t, name=bytes
)
cpdef int kind_at(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(o="unsigned char *")
cpdef Py_ssize_t put_value(
    unsigned char *out, Py_ssize_t at, const unsigned char *data, Py_ssize_t start, Py_ssize_t end
) noexcept
