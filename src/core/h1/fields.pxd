cimport cython

from ..http.grammar cimport cut, skip_space, skip_token, trim_space

@cython.locals(p="const unsigned char *", colon=Py_ssize_t, first=Py_ssize_t, name=bytes)
cpdef tuple read_field(const unsigned char *data, Py_ssize_t start, Py_ssize_t end)
cpdef refused(const unsigned char *data, Py_ssize_t start, Py_ssize_t colon, Py_ssize_t end)
