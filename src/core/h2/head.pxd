cimport cython

cdef int AUTHORITY, CONTENT_LENGTH, COOKIE, EXPECT, HOST, METHOD, PATH, PLAIN, PRIORITY, PROTOCOL, SCHEME, STATUS, TE
cdef list _NONE
cdef int _NO_WAY


@cython.final
cdef class Tail:
    cdef list lines
    cdef list hosts
    cdef list lengths
    cdef list expects
    cdef list cookies
    cdef bytes priority
    cdef bint te
    cdef bint never_indexed
    cdef long long room
    cdef bytes joined
    cdef int way


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
    cdef public bint never_indexed
    cdef public str fault
    cdef public object fault_kind
    cdef public bint too_large
    cdef public long long room
    cdef public Py_ssize_t fields_left
    cdef readonly int pseudo
    cdef public bytes sound_authority
    cdef bint _has_fields
    cdef Tail _tail

    cpdef reset(self)
    cpdef add(self, int kind, bytes content, str fault)
    @cython.locals(known=bytes)
    cdef _pseudo(self, int kind, bytes value)
    cpdef fail(self, object kind, str message)
    cpdef bint is_sound(self) except -1
    cdef add_tail(self, Tail tail)
    @cython.locals(tail=Tail)
    cdef Tail make_tail(self, long long room)
    @cython.locals(tail=Tail, way=int)
    cpdef bytes block(self, bint with_length, bint te)
    @cython.locals(lines=list, crumbs=list, text=bytes)
    cdef bytes _join(self, bint with_length, bint te)


cdef list _with(list values, bytes value)
