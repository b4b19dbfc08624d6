cimport cython

from .grammar cimport decimal, hex_digit, skip_name

cdef dict _known, _hosts

@cython.locals(known=tuple, found=tuple)
cpdef tuple parse_authority(bytes authority)
@cython.locals(known=str, parsed=tuple, host=str)
cpdef str host_of(bytes authority)
@cython.locals(size=Py_ssize_t, end=Py_ssize_t, port="long long", host=bytes, address=bytes)
cdef tuple _parse(bytes authority)
cdef bytes _ipv6(bytes text)
