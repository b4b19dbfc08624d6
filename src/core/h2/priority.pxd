cimport cython

cdef class Row
cdef class Level
cdef class Schedule

from .stream cimport Stream

cdef dict _COMMON
cdef int _LEVELS, _COMPACT


@cython.locals(common=object, said=int, at=Py_ssize_t, end=Py_ssize_t, start=Py_ssize_t, text=bytes, name=bytes)
cpdef int parse_priority(bytes value, int priority) except -1
@cython.locals(said="long long")
cdef int _urgency(bytes text, int urgency) except -1
@cython.locals(p="const unsigned char *", size=Py_ssize_t, at=Py_ssize_t)
cpdef bint has_priority(bytes block) except -1
cdef Py_ssize_t _skip_spaces(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) noexcept
cdef Py_ssize_t _skip_blanks(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) noexcept
cdef Py_ssize_t _skip_key(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) except -2
cdef Py_ssize_t _skip_parameters(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) except -2
cdef Py_ssize_t _skip_member(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) except -2
@cython.locals(first=int, start=Py_ssize_t)
cdef Py_ssize_t _skip_item(const unsigned char *p, Py_ssize_t at, Py_ssize_t end) except -2


@cython.final
cdef class Row:
    cdef list _streams
    cdef Py_ssize_t _start

    cdef Stream first(self)
    cdef bint is_single(self) except -1
    cdef append(self, Stream stream)
    @cython.locals(streams=list, at=Py_ssize_t, other=Stream)
    cdef insert(self, Stream stream)
    @cython.locals(streams=list, start=Py_ssize_t)
    cdef remove(self, Stream stream)


@cython.final
cdef class Level:
    cdef Row in_turn
    cdef Row shared
    cdef bint is_turn_of_shared


@cython.final
cdef class Schedule:
    cdef readonly int ready
    cdef Stream _alone
    cdef list _levels

    @cython.locals(alone=Stream)
    cpdef add(self, Stream stream)
    @cython.locals(level=Level, levels=list, urgency=int)
    cdef _put(self, Stream stream)
    @cython.locals(level=Level, urgency=int, row=Row)
    cpdef remove(self, Stream stream)
    @cython.locals(level=Level, urgency=int, shared=Stream, in_turn=Stream)
    cpdef Stream first(self)
    @cython.locals(level=Level, shared=Row)
    cpdef had_turn(self, Stream stream)
