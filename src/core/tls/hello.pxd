cimport cython

from ..http cimport words_c as words

cdef int DOT, HYPHEN, UNDERSCORE, COLON, DIGIT_0, DIGIT_9, LETTER_A, LETTER_F, LETTER_Z
cdef bytes _RECORD, _BYTES
cdef int HANDSHAKE_RECORD, CLIENT_HELLO
cdef Py_ssize_t MAX_FRAGMENT
cdef int EXT_SERVER_NAME, EXT_SUPPORTED_GROUPS, EXT_SIGNATURE_ALGORITHMS, EXT_ALPN, EXT_PRE_SHARED_KEY, EXT_SUPPORTED_VERSIONS

cdef class ClientHello:
    cdef readonly bytes raw
    cdef readonly int legacy_version
    cdef readonly str sni
    cdef readonly tuple alpn
    cdef Py_ssize_t _ciphers
    cdef Py_ssize_t _extensions
    cdef Py_ssize_t _versions
    cdef Py_ssize_t _groups
    cdef Py_ssize_t _algorithms

cdef tuple _numbers(bytes raw, Py_ssize_t start, Py_ssize_t width)

@cython.final
cdef class ClientHelloReader:
    cdef Py_ssize_t _limit
    cdef bytes _stored
    cdef bytes _message
    cdef bint _started
    cdef readonly object records
    @cython.locals(given=bytes)
    cpdef receive_data(self, data)
    @cython.locals(position=Py_ssize_t, length=Py_ssize_t, size=Py_ssize_t, needed=Py_ssize_t, stored=bytes, fragments=list, p="const unsigned char *")
    cpdef ClientHello next_hello(self)
    @cython.locals(stored=bytes, taken=bytes)
    cdef _take(self, Py_ssize_t end)

@cython.locals(p="const unsigned char *", available=Py_ssize_t, size=Py_ssize_t)
cdef Py_ssize_t _record(bytes data, Py_ssize_t start) except -2

cdef Py_ssize_t _message_length(bytes message, Py_ssize_t limit) except -2

cdef Py_ssize_t _list(Py_ssize_t start, Py_ssize_t end) except -1

@cython.locals(p="const unsigned char *")
cdef Py_ssize_t _inner(bytes data, Py_ssize_t start, Py_ssize_t end) except -2

@cython.locals(p="const unsigned char *", i=Py_ssize_t, digits=bint, colon=bint, others=bint, c=int)
cpdef bint is_address(bytes name) except -1

cpdef bytes plain_name(bytes name)

@cython.locals(p="const unsigned char *", i=Py_ssize_t, label=Py_ssize_t, number=bint, c=int)
cpdef bint is_host_name(bytes name) except -1

@cython.locals(p="const unsigned char *", name=bytes)
cdef str _server_name(bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(p="const unsigned char *", i=Py_ssize_t, size=Py_ssize_t, names=list)
cdef tuple _protocols(bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(
    p="const unsigned char *", end=Py_ssize_t, i=Py_ssize_t, size=Py_ssize_t, stop=Py_ssize_t, kind=int, last=bint, again=bint,
    one="unsigned long long", low="unsigned long long", others=set, hello=ClientHello,
)
cpdef ClientHello parse_client_hello(bytes message)

@cython.locals(raw=bytes)
cpdef bytes hello_records(ClientHello hello)

@cython.locals(p="const unsigned char *", high=Py_ssize_t, low=Py_ssize_t)
cdef bytes _in_record(bytes fragment)
