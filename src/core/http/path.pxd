cimport cython

from .grammar cimport find_byte, hex_digit, skip_name, skip_target

@cython.locals(size=Py_ssize_t, end=Py_ssize_t)
cpdef bytes normalise(bytes target, bint allow_encoded_slash=*)
@cython.locals(p="const unsigned char *", at=Py_ssize_t, byte=int)
cdef bint _is_normal(bytes target, Py_ssize_t end) except -1
@cython.locals(p="const unsigned char *", at=Py_ssize_t, byte=int, high=int, low=int, path=bytearray)
cdef bytes _decode(bytes target, Py_ssize_t end, bint allow_encoded_slash)
@cython.locals(segments=list, last=bytes, part=bytes, piece=bytes)
cdef bytes _join(list parts)
