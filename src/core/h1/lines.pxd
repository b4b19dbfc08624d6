cimport cython

from ..buffer cimport ReceiveBuffer
from ..http.grammar cimport skip_value

@cython.locals(p="const unsigned char *", size=Py_ssize_t, start=Py_ssize_t, at=Py_ssize_t, seen=Py_ssize_t)
cpdef Py_ssize_t read_line(ReceiveBuffer buffer, Py_ssize_t most) except -3
