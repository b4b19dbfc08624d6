cimport cython

cdef int AUTHORITY, CONTENT_LENGTH, COOKIE, EXPECT, HOST, METHOD, PATH, PLAIN, PRIORITY, PROTOCOL, SCHEME, STATUS, TE
cdef list _NONE


@cython.final
cdef class Head:
    cdef public bytes method
    cdef public bytes path
    cdef public bytes authority
    cdef public bytes scheme
    cdef public bytes protocol
    cdef public bytes status
    cdef public bytes priority
    cdef public list lines
    cdef public list hosts
    cdef public list lengths
    cdef public list expects
    cdef public list cookies
    cdef public bint te
    cdef public str fault
    cdef public object fault_kind
    cdef public bint too_large
    cdef public long long room
    cdef public Py_ssize_t fields_left
    cdef bint _has_fields

    cpdef reset(self)
    cpdef add(self, int kind, bytes content, str fault)
    @cython.locals(known=bytes)
    cdef _pseudo(self, int kind, bytes value)
    cpdef fail(self, object kind, str message)
    @cython.locals(lines=list, crumbs=list, text=bytes)
    cpdef bytes block(self, bint with_length, bint te)


cdef list _with(list values, bytes value)
