cimport cython


@cython.final
cdef class NameTable:
    cdef public dict exact
    cdef public dict wildcard

    cpdef Py_ssize_t add(self, str name, Py_ssize_t value) except -2
    @cython.locals(found=Py_ssize_t)
    cpdef Py_ssize_t get(self, str name) except -2
    cpdef Py_ssize_t get_wildcard(self, str name) except -2


@cython.final
cdef class RouteEntry:
    cdef readonly object route
    cdef readonly str backend
    cdef readonly str name
    cdef readonly tuple special

    @cython.locals(entry=RouteEntry)
    cpdef RouteEntry for_client(self, record)


@cython.final
cdef class RouteTable:
    cdef public dict by_path
    cdef public set lengths
    cdef public Py_ssize_t longest

    @cython.locals(entry=RouteEntry)
    cpdef bint add(self, route) except -1
    @cython.locals(route=RouteEntry)
    cpdef RouteEntry match(self, bytes path, Py_ssize_t end)


cdef class Identity:
    cdef public object names
    cdef public object context
    cdef public object default
    cdef public object http_1_context
    cdef public object client_auth


@cython.final
cdef class Policy:
    cdef readonly dict backends
    cdef readonly tuple routes
    cdef readonly tuple identities
    cdef readonly object forward
    cdef readonly bint allow_encoded_slash
    cdef readonly bint only_adds
    cdef readonly bint via
    cdef readonly bint wants_ja4
    cdef readonly bint protected
    cdef readonly frozenset own_names
    cdef readonly bint introduces
    cdef readonly bint strict_sni
    cdef readonly bint needs_sni
    cdef readonly bint asks
    cdef object _strict
    cdef readonly Py_ssize_t default_identity
    cdef readonly dict passthrough
    cdef tuple _passed_on
    cdef NameTable _names
    cdef NameTable _hosts
    cdef list _tables
    cdef RouteTable _everywhere

    cdef _set_identities(self, tuple identities)
    @cython.locals(found=Py_ssize_t)
    cpdef Py_ssize_t identity_for(self, str name) except -2
    @cython.locals(found=Py_ssize_t)
    cpdef bint is_protected(self, str name) except -1
    cpdef bint knows(self, str name) except -1
    @cython.locals(index=Py_ssize_t)
    cpdef str passthrough_for(self, str name)
    @cython.locals(found=RouteEntry)
    cpdef match(self, str host, str path)
    @cython.locals(found=RouteEntry)
    cpdef RouteEntry match_target(self, str host, bytes target, Py_ssize_t end)
    @cython.locals(table=RouteTable)
    cdef RouteEntry _match_in(self, Py_ssize_t index, bytes target, Py_ssize_t end)
