cimport cython

from ..buffer cimport ReceiveBuffer
from ..http cimport words_c as words

cdef int _CONNECTION, _EITHER, _STREAM, _ANY_SIZE, _KNOWN, _HEADER_SIZE, _MAX_SIZE
cdef int _HEADERS, _END_STREAM, _END_HEADERS
cdef bytes _PLACE, _LEAST, _EXACT


@cython.final
cdef class FrameReader:
    cdef public bint begun
    cdef public int kind
    cdef public int flags
    cdef public long long stream_id
    cdef public Py_ssize_t length

    @cython.locals(
        p="const unsigned char *", start=Py_ssize_t, length=Py_ssize_t, kind=int, stream_id="long long", place=int
    )
    cpdef bint read_header(self, ReceiveBuffer buffer) except -1
    @cython.locals(place=int)
    cdef int _judge(self, int kind, long long stream_id, Py_ssize_t length) except -1


@cython.final
cdef class FrameWriter:
    cdef bytearray _scratch

    @cython.locals(p="unsigned char *", frame=bytes)
    cpdef bytes header(self, Py_ssize_t length, int kind, int flags, long long stream_id)
    @cython.locals(p="unsigned char *", frame=bytes)
    cpdef bytes number(self, int kind, long long stream_id, long long value)
    @cython.locals(flags=int, size=Py_ssize_t, start=Py_ssize_t, piece=bytes, pieces=list)
    cpdef bytes headers(self, bytes section, bint ended, long long stream_id)
    cpdef bytes settings(self, bytes payload)
    cpdef bytes settings_ack(self)
    cpdef bytes ping(self, bytes data, bint ack)
    cpdef bytes goaway(self, long long last_stream_id, long long code)
