cimport cython

from .grammar cimport is_name, put, put_lower

cdef list _NAMES, _VALUES
cdef bytes _POSSIBLE

cpdef bytes folded(bytes name)
cpdef bint kept(bytes name) except -1
cpdef bint allowed_in_trailers(bytes name) except -1
@cython.locals(p="const unsigned char *", possible="const unsigned char *", size=Py_ssize_t, index=int)
cpdef int kind_at(const unsigned char *data, Py_ssize_t start, Py_ssize_t end) except -1
@cython.locals(o="unsigned char *")
cpdef Py_ssize_t put_field(
    unsigned char *out, Py_ssize_t at, const unsigned char *names, Py_ssize_t start, Py_ssize_t colon,
    const unsigned char *values, Py_ssize_t first, Py_ssize_t last
) noexcept
