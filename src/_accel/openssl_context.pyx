# cython: language_level=3str, boundscheck=False, wraparound=False
"""What the native engine is made from: a pyOpenSSL context, prepared once, with callbacks that need no Python.

But for the key log, which is for finding faults: its callback takes the GIL and calls what the context was given.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uintptr_t
from libc.string cimport memcmp

from .engine cimport EngineContext, Session
from .openssl cimport (
    HOST_FLAGS, SSL_MODE_AUTO_RETRY, SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_OK, NativeEngine, NativeSession, Notes,
    current_notes, loaded, on_info, ssl,
)
from .openssl_names cimport Names
from .openssl_staple cimport on_status

cdef Py_ssize_t MAX_RESPONSE = 65535  # bytes: what fits in a message with its length in two

cdef int on_server_name(void *connection, int *alert, void *argument) noexcept nogil:
    """Acknowledge the name: the context was chosen for it."""
    return SSL_TLSEXT_ERR_OK


cdef void on_key_log(void *connection, const char *line) noexcept with gil:
    """Pass a line of the key log on, with the end of line that it lacks."""
    cdef Notes *notes = current_notes()
    if notes is not NULL and notes.key_log is not NULL:
        (<object>notes.key_log)(<bytes>line + b"\n")


cdef struct Protocols:
    const unsigned char *wire  # each with its length before it
    Py_ssize_t size


cdef int on_alpn(
    void *connection, const unsigned char **out, unsigned char *out_size, const unsigned char *offered,
    unsigned int offered_size, void *argument,
) noexcept nogil:
    """Select by the server's order. That nothing fits was dealt with before the engine was made."""
    cdef Protocols *ours = <Protocols *>argument
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t j
    while i < ours.size:
        j = 0
        while j < offered_size:
            if (
                offered[j] == ours.wire[i]
                and j + offered[j] < offered_size
                and memcmp(offered + j + 1, ours.wire + i + 1, offered[j]) == 0
            ):
                out[0] = ours.wire + i + 1
                out_size[0] = ours.wire[i]
                return SSL_TLSEXT_ERR_OK
            j += 1 + offered[j]
        i += 1 + ours.wire[i]
    return SSL_TLSEXT_ERR_NOACK


cdef class NativeContext(EngineContext):
    """Makes `NativeEngine`s from a pyOpenSSL context."""

    cdef void *pointer
    cdef object keep
    cdef bytes wire
    cdef Protocols protocols
    cdef bint server
    cdef bint verify
    cdef Names names
    cdef object tickets
    cdef object key_log
    cdef bytes response

    def __init__(
        self, context, uintptr_t pointer, *, bint server, tuple alpn, bint verify, tickets=None, key_log=None
    ):
        if not loaded:
            raise RuntimeError("the native engine is not loaded")
        if self.pointer is not NULL:
            raise RuntimeError("this context is made already")
        self.keep = context
        self.names = Names.__new__(Names)
        self.pointer = <void *>pointer
        self.server = server
        self.verify = verify
        self.tickets = tickets
        self.key_log = key_log
        self.wire = b"".join([bytes((len(name),)) + name for name in alpn])
        self.protocols.wire = <const unsigned char *>PyBytes_AS_STRING(self.wire)
        self.protocols.size = len(self.wire)
        ssl.SSL_CTX_set_info_callback(self.pointer, on_info)
        if server:
            ssl.SSL_CTX_set_tlsext_servername_callback(self.pointer, on_server_name)
            if alpn:
                ssl.SSL_CTX_set_alpn_select_cb(self.pointer, on_alpn, &self.protocols)
            ssl.SSL_CTX_set_tlsext_status_cb(self.pointer, on_status)
        if key_log is not None:
            ssl.SSL_CTX_set_keylog_callback(self.pointer, on_key_log)

    cpdef staple(self, bytes response):
        """See `EngineContext`."""
        if len(response) > MAX_RESPONSE:
            raise ValueError("this response fits in no handshake")
        self.response = response

    cpdef engine(self, str server_name, bytes address, Session session=None):
        """See `EngineContext`."""
        cdef NativeEngine engine = NativeEngine.__new__(NativeEngine)
        cdef NativeContext base
        cdef NativeSession known = session
        cdef bytes name
        if self.pointer is NULL:
            raise RuntimeError("this context was never made")
        engine.context = self
        engine.names = self.names
        engine.verify = self.verify
        engine.staple = self.response
        if engine.staple:
            engine.notes.staple = <const void *>PyBytes_AS_STRING(engine.staple)
            engine.notes.staple_size = <int>len(engine.staple)
        engine.notes.key_log = NULL if self.key_log is None else <void *>self.key_log
        if self.tickets is None:
            engine.ssl = ssl.SSL_new(self.pointer)
        else:
            # The keys of tickets stay those of the context that a connection was made from.
            base = self.tickets.current
            engine.ssl = ssl.SSL_new(base.pointer)
            if engine.ssl is not NULL and ssl.SSL_set_SSL_CTX(engine.ssl, self.pointer) is NULL:
                ssl.SSL_free(engine.ssl)
                engine.ssl = NULL
        engine.input = ssl.BIO_new(ssl.BIO_s_mem())
        engine.output = ssl.BIO_new(ssl.BIO_s_mem())
        if engine.ssl is NULL or engine.input is NULL or engine.output is NULL:
            ssl.BIO_free(engine.input)
            ssl.BIO_free(engine.output)
            ssl.ERR_clear_error()
            raise MemoryError
        ssl.SSL_set_bio(engine.ssl, engine.input, engine.output)
        ssl.SSL_set_mode(engine.ssl, SSL_MODE_AUTO_RETRY)
        if self.server:
            ssl.SSL_set_accept_state(engine.ssl)
            return engine
        name = server_name.encode("ascii")
        if self.verify and not expect_name(engine.ssl, name, address):
            ssl.ERR_clear_error()
            return None
        if name:
            ssl.SSL_set_tlsext_host_name(engine.ssl, PyBytes_AS_STRING(name))
        engine.name = server_name
        engine.address = address
        if known is not None and ssl.SSL_set_session(engine.ssl, known.value) == 1:
            engine.know()
        ssl.SSL_set_connect_state(engine.ssl)
        return engine


cdef bint expect_name(void *connection, bytes name, bytes address):
    """Have the certificate checked for a DNS name, or for an IP address if there is one."""
    cdef void *parameters = ssl.SSL_get0_param(connection)
    if address:
        return ssl.X509_VERIFY_PARAM_set1_ip(
            parameters, <const unsigned char *>PyBytes_AS_STRING(address), len(address)
        ) == 1
    ssl.X509_VERIFY_PARAM_set_hostflags(parameters, HOST_FLAGS)
    return ssl.X509_VERIFY_PARAM_set1_host(parameters, PyBytes_AS_STRING(name), len(name)) == 1
