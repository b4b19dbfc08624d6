cimport cython

from ..http.grammar cimport cut, skip_space, skip_token, trim_space

cdef dict _KINDS
cdef dict _NAMES

cpdef bytes folded(bytes name)
cpdef bint kept(bytes name) except -1
cpdef bint allowed_in_trailers(bytes name) except -1
cpdef int kind_of(bytes name) except -1
@cython.locals(p="const unsigned char *", colon=Py_ssize_t, first=Py_ssize_t, name=bytes)
cpdef tuple read_field(object data, Py_ssize_t start, Py_ssize_t end)
cdef _refused(object data, Py_ssize_t start, Py_ssize_t colon, Py_ssize_t end)
