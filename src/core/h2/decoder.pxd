cimport cython

from ..http cimport words_c as words
from ..http.grammar cimport cut, put
from .head cimport Head, Tail
from .huffman cimport decode_huffman
from .table cimport DynamicTable, Entry, name_fault, name_kind, value_fault

cdef int BROKEN, COOKIE, DEFAULT_SIZE, ENTRY_SIZE, LEAST_ROOM, MOST_KEPT, MOST_OCTETS, MOST_REMEMBERED, NEVER, OF_REQUEST, OVERHEAD
cdef int PLAIN, _NOT_BEGUN


@cython.final
cdef class HeaderDecoder:
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _max_list
    cdef Py_ssize_t _max_fields
    cdef DynamicTable _table
    cdef bytearray _scratch
    cdef Py_ssize_t _at
    cdef bint _is_changed
    cdef dict _remembered
    cdef Py_ssize_t _remembered_size
    cdef bytes _last_data
    cdef Tail _last_tail

    @cython.locals(
        p="const unsigned char *", size=Py_ssize_t, at=Py_ssize_t, index=Py_ssize_t, limit=Py_ssize_t, byte=int, mask=int,
        begun=bint, table=DynamicTable, entry=Entry, tail=Tail, tail_at=Py_ssize_t, tail_room="long long", pseudo=int
    )
    cpdef decode(self, bytes data, Head head)
    @cython.locals(end=bytes, tail=Tail)
    cdef Tail _recall(self, const unsigned char *data, Py_ssize_t at, Py_ssize_t size)
    @cython.locals(size=Py_ssize_t)
    cdef _remember(self, bytes data, Tail tail)
    cpdef Py_ssize_t table_size(self) except -1
    @cython.locals(p="const unsigned char *", value=Py_ssize_t, shift=int, byte=int)
    cdef Py_ssize_t _integer(self, const unsigned char *data, Py_ssize_t at, Py_ssize_t size, int prefix) except -1
    @cython.locals(
        p="const unsigned char *", start=Py_ssize_t, end=Py_ssize_t, field_size=Py_ssize_t, kind=int, name=bytes,
        content=bytes, fault=str, keep=bint, known=Entry, entry=Entry, scratch=bytearray
    )
    cdef Py_ssize_t _literal(
        self, const unsigned char *data, Py_ssize_t at, Py_ssize_t size, Py_ssize_t index, int way, Head head
    ) except -1
    @cython.locals(p="const unsigned char *", byte=int, length=Py_ssize_t, end=Py_ssize_t)
    cdef Py_ssize_t _string(self, const unsigned char *data, Py_ssize_t at, Py_ssize_t size, Py_ssize_t start) except -1
    cdef _make_room(self, Py_ssize_t needed)


cdef object _broken(str message)
