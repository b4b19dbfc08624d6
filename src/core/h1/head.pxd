cimport cython

from ..buffer cimport ReceiveBuffer
from ..http cimport words_c as words
from ..http.fields cimport kind_at, put_value
from ..http.grammar cimport cut, is_name, put, put_name, skip_space, skip_target, skip_token, trim_space
from .bounds cimport H1Bounds
from .fields cimport refused
from .lines cimport read_line

cdef int CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE
cdef int INCOMPLETE, NO_WAY, TOO_LONG
cdef list _KEEP_ALIVE, _NONE
cdef bytes _GET, _KEPT, _OK
cdef Py_ssize_t LINE_REST, MOST_KEPT, MOST_ROOM, ROOM


@cython.final
cdef class HeadReader:
    cdef bint _is_request
    cdef bint _started
    cdef Py_ssize_t _size
    cdef Py_ssize_t _count
    cdef Py_ssize_t _blank_lines
    cdef H1Bounds _bounds
    cdef bytearray _fields
    cdef Py_ssize_t _fields_end
    cdef bytes _known
    cdef Py_ssize_t _known_end
    cdef bytes _host
    cdef public bytes method
    cdef public bytes target
    cdef public bint http_1_1
    cdef public int status
    cdef public bytes reason
    cdef public list hosts
    cdef public list lengths
    cdef public list codings
    cdef public list connection
    cdef public list upgrades
    cdef public list expects
    cdef public list te
    cdef public bytes joined
    cdef public bytes sound_host
    cdef public int way

    cpdef reset(self)
    cdef _forget(self)
    @cython.locals(p="const unsigned char *", begin=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t)
    cpdef bint read(self, ReceiveBuffer buffer) except -1
    @cython.locals(known=bytes, start=Py_ssize_t, end=Py_ssize_t)
    cdef bint _recall(self, ReceiveBuffer buffer) except -1
    cpdef bint begun(self) except -1
    @cython.locals(space=Py_ssize_t, second=Py_ssize_t)
    cdef _request_line(self, const unsigned char *p, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(status=int, at=Py_ssize_t, digit=int)
    cdef _status_line(self, const unsigned char *p, Py_ssize_t start, Py_ssize_t end)
    cdef _version(self, const unsigned char *p, Py_ssize_t start, Py_ssize_t end)
    cpdef bytes block(self)
    @cython.locals(
        at=Py_ssize_t, colon=Py_ssize_t, first=Py_ssize_t, last=Py_ssize_t, kind=int, value=bytes, fields=bytearray
    )
    cdef _field(self, const unsigned char *p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t received)
    @cython.locals(size=Py_ssize_t, at=Py_ssize_t, fields=bytearray)
    cpdef add(self, bytes name, bytes value)
    @cython.locals(fields=bytearray, needed=Py_ssize_t, room=Py_ssize_t)
    cdef bytearray _room(self, Py_ssize_t size, Py_ssize_t expected)
