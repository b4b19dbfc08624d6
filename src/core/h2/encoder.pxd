cimport cython

from ..http.grammar cimport cut, find_byte, put
from .huffman cimport encode_huffman, huffman_size
from .priority cimport has_priority

cdef int ENTRY_SIZE, FIRST_DYNAMIC, INCREMENTAL, LEAST_ROOM, LINE_ROOM, MOST_KEPT, MOST_REMEMBERED, MOST_TABLE, NEVER, OVERHEAD, PATH_INDEX, WITHOUT
cdef long long _NO_LENGTH
cdef dict _STATIC_LINES, _STATIC_NAMES, _WAYS


@cython.final
cdef class HeaderEncoder:
    cdef Py_ssize_t _capacity
    cdef Py_ssize_t _smallest
    cdef Py_ssize_t _size
    cdef long long _inserted
    cdef list _entries
    cdef Py_ssize_t _first
    cdef dict _lines
    cdef dict _names
    cdef bytes _authority
    cdef bytes _authority_line
    cdef dict _remembered
    cdef Py_ssize_t _remembered_size
    cdef bytes _last_block
    cdef bytes _last_made
    cdef bytearray _out
    cdef Py_ssize_t _end
    cdef public long long length
    cdef public bint has_priority
    cdef public bint never_indexed

    @cython.locals(capacity=Py_ssize_t)
    cpdef set_max_size(self, long long size)
    cpdef Py_ssize_t table_size(self) except -1
    cpdef begin(self)
    @cython.locals(section=bytes)
    cpdef bytes take(self)
    @cython.locals(
        p="const unsigned char *", begin=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, inserted="long long",
        remembered=dict, made=bytes
    )
    cpdef block(self, bytes block)
    @cython.locals(made=bytes, size=Py_ssize_t)
    cdef _remember(self, bytes block, Py_ssize_t begin)
    @cython.locals(index=Py_ssize_t, number=object, o="unsigned char *")
    cpdef line(self, bytes line)
    @cython.locals(o="unsigned char *")
    cpdef static(self, int index)
    cpdef authority(self, bytes authority)
    @cython.locals(size=Py_ssize_t)
    cpdef path(self, bytes target)
    @cython.locals(
        size=Py_ssize_t, colon=Py_ssize_t, counted=Py_ssize_t, name=bytes, way=int, index=Py_ssize_t, number=object
    )
    cdef _literal(self, bytes line)
    @cython.locals(entries=list, first=Py_ssize_t, number="long long", line=bytes, name=bytes)
    cdef _evict(self, Py_ssize_t allowed)
    @cython.locals(o="unsigned char *", at=Py_ssize_t)
    cdef _integer(self, int first, int prefix, Py_ssize_t value)
    @cython.locals(coded=Py_ssize_t)
    cdef _string(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(missing=Py_ssize_t)
    cdef _make_room(self, Py_ssize_t size)
