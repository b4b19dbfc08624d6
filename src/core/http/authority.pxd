cimport cython

from .grammar cimport decimal, hex_digit, skip_name

@cython.locals(size=Py_ssize_t, end=Py_ssize_t, port="long long", host=bytes, address=bytes)
cpdef tuple parse_authority(bytes authority)
cdef bytes _ipv6(bytes text)
