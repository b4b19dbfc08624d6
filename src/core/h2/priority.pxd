cimport cython

cdef class Level
cdef class Schedule

from .stream cimport Stream

cdef dict _COMMON
cdef int _LEVELS


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
cdef class Level:
    cdef list in_turn
    cdef list shared
    cdef bint is_turn_of_shared


@cython.final
cdef class Schedule:
    cdef readonly int ready
    cdef Stream _alone
    cdef list _levels

    @cython.locals(alone=Stream)
    cpdef add(self, Stream stream)
    @cython.locals(level=Level, levels=list, urgency=int, in_turn=list, at=Py_ssize_t, other=Stream)
    cdef _put(self, Stream stream)
    @cython.locals(level=Level, urgency=int, streams=list)
    cpdef remove(self, Stream stream)
    @cython.locals(level=Level, urgency=int)
    cpdef Stream first(self)
    @cython.locals(level=Level, shared=list)
    cpdef had_turn(self, Stream stream)
