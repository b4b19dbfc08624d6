cimport cython

from ..http.grammar cimport skip_token, skip_value, trim_space

cdef int _PLAIN, _BROKEN, _MAX_NAME, _FIRST_DYNAMIC
cdef dict _SPECIAL
cdef list _STATIC

@cython.locals(size=Py_ssize_t)
cpdef int name_kind(bytes name) except -1
cpdef str name_fault(bytes name)
@cython.locals(p="const unsigned char *")
cpdef str value_fault(const unsigned char *data, Py_ssize_t start, Py_ssize_t end)


@cython.final
cdef class Entry:
    cdef public bytes name
    cdef public bytes content
    cdef public int kind
    cdef public str fault
    cdef public Py_ssize_t size


@cython.final
cdef class DynamicTable:
    cdef list _entries
    cdef Py_ssize_t _first
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t capacity

    @cython.locals(entries=list, at=Py_ssize_t)
    cpdef Entry get(self, Py_ssize_t index)
    cpdef add(self, Entry entry)
    cpdef resize(self, Py_ssize_t capacity)
    @cython.locals(entries=list, first=Py_ssize_t, oldest=Entry)
    cdef _evict(self, Py_ssize_t allowed)
