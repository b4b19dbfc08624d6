cimport cython

cdef class ClientHello:
    cdef readonly bytes raw
    cdef readonly int legacy_version
    cdef readonly tuple versions
    cdef readonly tuple cipher_suites
    cdef readonly str sni
    cdef readonly tuple alpn
    cdef readonly tuple groups
    cdef readonly tuple signature_algorithms
    cdef readonly tuple extensions

cdef class ClientHelloReader:
    cdef Py_ssize_t _limit
    cdef bytes _stored
    cdef bytes _message
    cdef bint _started
    cpdef receive_data(self, data)
    @cython.locals(position=Py_ssize_t, length=Py_ssize_t, size=Py_ssize_t, needed=Py_ssize_t, stored=bytes, fragments=list)
    cpdef next_hello(self)

@cython.locals(p="const unsigned char *", available=Py_ssize_t, size=Py_ssize_t)
cdef Py_ssize_t _record(bytes data, Py_ssize_t start) except -2

cdef Py_ssize_t _message_length(bytes message, Py_ssize_t limit) except -2

@cython.locals(p="const unsigned char *", i=Py_ssize_t, values=list)
cdef tuple _u16_list(bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(p="const unsigned char *")
cdef Py_ssize_t _inner(bytes data, Py_ssize_t start, Py_ssize_t end) except -2

@cython.locals(p="const unsigned char *", name=bytes)
cdef str _server_name(bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(p="const unsigned char *", i=Py_ssize_t, size=Py_ssize_t, names=list)
cdef tuple _protocols(bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(
    p="const unsigned char *", end=Py_ssize_t, i=Py_ssize_t, size=Py_ssize_t, stop=Py_ssize_t, kind=int, legacy_version=int,
    extensions=list, seen=set,
)
cpdef ClientHello parse_client_hello(bytes message)

cpdef bytes hello_records(ClientHello hello)
