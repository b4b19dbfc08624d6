# cython: language_level=3str, boundscheck=False, wraparound=False
"""The native engine: OpenSSL called by address.

Nothing is linked. The functions are those of the OpenSSL inside cryptography, which pyOpenSSL has configured the `SSL_CTX`
with; `load` is given their addresses after each was found with its type of `openssl_table.py` (see `core/tls/binding.py`).
The interface and its meaning are `Engine`'s in `core/tls/engine.py`; C declarations are in `openssl.pxd`.

Callbacks
    OpenSSL calls back while one of our calls runs, on the same thread. So each call leaves a pointer to the connection's
    notes in a thread-local variable, and the callback writes there: no table of connections, no GIL.

The GIL
    is released around handshakes, and around reads and writes of more than `BIG` bytes; for smaller ones giving it up costs
    more than it gives. Meanwhile `busy` is set, and a second thread gets a RuntimeError instead of a race.

Lifetime
    An engine owns its SSL, which owns both buffers; `close`, or the end of the object, frees it once. It keeps its
    `NativeContext`, which keeps the pyOpenSSL `Context` and what the ALPN callback points to. After `close` no method
    touches OpenSSL.

Memory
    OpenSSL's memory buffers never shrink. They are replaced by new ones after the handshake, and whenever one has become
    large and is empty.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, PyObject
from libc.stdint cimport uintptr_t
from libc.string cimport memcmp

from .openssl_table import SIGNATURES


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #define LOCKGATE_THREAD_LOCAL __declspec(thread)
    #else
    #define LOCKGATE_THREAD_LOCAL __thread
    #endif

    typedef struct {
        int alert;          /* last alert that matters, -1 for none */
        int received;
        int reason;         /* OpenSSL's reason code when it was sent */
        int established;
        long messages;      /* since the handshake was done */
    } lockgate_notes;

    static LOCKGATE_THREAD_LOCAL lockgate_notes *lockgate_current;
    """
    ctypedef struct Notes "lockgate_notes":
        int alert
        int received
        int reason
        int established
        long messages
    Notes *current "lockgate_current"

cdef extern from "Python.h":
    # Declared again with plain pointers: a new bytes object is filled, and cut to size, before anyone sees it.
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t)
    char *content "PyBytes_AS_STRING"(PyObject *)
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t)

cdef Functions ssl
cdef bint loaded = False

def load(dict addresses):
    """Take the addresses of all functions in `SIGNATURES`. Before this no context can be made."""
    global loaded
    # The struct holds nothing but pointers, in the order of the table.
    cdef void **slot = <void **>&ssl
    cdef Py_ssize_t i
    if len(SIGNATURES) * sizeof(void *) != sizeof(Functions):
        raise LookupError("the table of functions does not fit its declaration")
    for i, name in enumerate(SIGNATURES):
        slot[i] = <void *><uintptr_t>addresses[name]
    loaded = True


cdef void on_info(void *connection, int where, int value) noexcept nogil:
    """Note alerts, and what happens after the handshake."""
    cdef Notes *notes = current
    cdef int alert = value & 0xFF
    if notes is NULL:
        return
    if where & SSL_CB_ALERT:
        if notes.established:
            notes.messages += 1
        # close_notify, user_canceled and no_renegotiation end nothing by themselves.
        if alert != 0 and alert != 90 and alert != 100:
            notes.alert = alert
            notes.received = not where & SSL_CB_WRITE
            notes.reason = 0 if notes.received else ssl.ERR_GET_REASON(ssl.ERR_peek_error())
    elif where & SSL_CB_LOOP and notes.established:
        notes.messages += 1


cdef int on_server_name(void *connection, int *alert, void *argument) noexcept nogil:
    """Acknowledge the name: the context was chosen for it."""
    return SSL_TLSEXT_ERR_OK


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


cdef class NativeContext:
    """Makes `NativeEngine`s from a pyOpenSSL context."""

    cdef void *pointer
    cdef object keep
    cdef bytes wire
    cdef Protocols protocols
    cdef bint server
    cdef bint verify

    def __init__(self, context, uintptr_t pointer, *, bint server, tuple alpn, bint verify):
        if not loaded:
            raise RuntimeError("the native engine is not loaded")
        if self.pointer is not NULL:
            raise RuntimeError("this context is made already")
        self.keep = context
        self.pointer = <void *>pointer
        self.server = server
        self.verify = verify
        self.wire = b"".join([bytes((len(name),)) + name for name in alpn])
        self.protocols.wire = <const unsigned char *>PyBytes_AS_STRING(self.wire)
        self.protocols.size = len(self.wire)
        ssl.SSL_CTX_set_info_callback(self.pointer, on_info)
        if server:
            ssl.SSL_CTX_set_tlsext_servername_callback(self.pointer, on_server_name)
            if alpn:
                ssl.SSL_CTX_set_alpn_select_cb(self.pointer, on_alpn, &self.protocols)

    def engine(self, str server_name, bytes address):
        """See `EngineContext`."""
        cdef NativeEngine engine = NativeEngine.__new__(NativeEngine)
        cdef bytes name = server_name.encode("ascii")
        if self.pointer is NULL:
            raise RuntimeError("this context was never made")
        engine.context = self
        engine.ssl = ssl.SSL_new(self.pointer)
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
        if self.verify and not expect_name(engine.ssl, name, address):
            ssl.ERR_clear_error()
            return None
        if name:
            ssl.SSL_set_tlsext_host_name(engine.ssl, PyBytes_AS_STRING(name))
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


cdef str text(const char *value):
    """A C string, empty for NULL."""
    return "" if value is NULL else (<bytes>value).decode("latin-1")


cdef class NativeEngine:
    """One TLS connection's cryptography; see `Engine` in core/tls/engine.py."""

    cdef NativeContext context
    cdef void *ssl
    cdef void *input
    cdef void *output
    cdef Notes notes
    cdef int _status
    cdef int later  # what the last read ended with after it had got some data
    cdef bint busy
    cdef bint renew_input
    cdef bint renew_output
    cdef Py_ssize_t partial  # bytes of an incomplete record that OpenSSL has taken over

    def __cinit__(self):
        self.ssl = NULL
        self.input = NULL
        self.output = NULL
        self.notes.alert = -1

    def __dealloc__(self):
        if self.ssl is not NULL:
            ssl.SSL_free(self.ssl)
            self.ssl = NULL

    @property
    def status(self):
        return self._status

    @property
    def alert(self):
        return self.notes.alert

    @property
    def alert_received(self):
        return self.notes.received != 0

    @property
    def reason(self):
        return self.notes.reason

    @property
    def verify_result(self):
        return 0 if self.ssl is NULL or not self.context.verify else ssl.SSL_get_verify_result(self.ssl)

    @property
    def messages(self):
        return self.notes.messages

    cdef bint usable(self) except -1:
        """Whether OpenSSL may be called."""
        if self.busy:
            raise RuntimeError("a TLS connection is used by two threads at once")
        return self.ssl is not NULL

    cdef int status_of(self, int result) noexcept nogil:
        """What the result of an OpenSSL call means. To be asked right after it."""
        cdef int error = ssl.SSL_get_error(self.ssl, result)
        if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE or error == SSL_ERROR_WANT_X509_LOOKUP:
            return WANT
        if error == SSL_ERROR_ZERO_RETURN:
            return CLOSED
        ssl.ERR_clear_error()
        return FAILED

    cdef void enter(self) noexcept nogil:
        """Before an OpenSSL call that may call back."""
        global current
        ssl.ERR_clear_error()
        current = &self.notes

    cdef void leave(self) noexcept nogil:
        global current
        current = NULL

    def feed(self, data):
        """See `Engine`."""
        cdef Py_buffer view
        cdef Py_ssize_t done = 0
        if not self.usable():
            return
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            while done < view.len:
                if ssl.BIO_write(self.input, <char *>view.buf + done, <int>min(view.len - done, MOST)) <= 0:
                    raise MemoryError
                done += min(view.len - done, MOST)
            if view.len > RECORD:
                self.renew_input = True
        finally:
            PyBuffer_Release(&view)

    def handshake(self):
        """See `Engine`."""
        cdef int result
        cdef int status
        if not self.usable():
            return FAILED
        self.busy = True
        with nogil:
            self.enter()
            result = ssl.SSL_do_handshake(self.ssl)
            status = OK if result == 1 else self.status_of(result)
            self.leave()
        self.busy = False
        if status == OK and not self.notes.established:
            self.notes.established = 1
            self.renew_input = True
            self.renew_output = True
        return status

    def read(self, Py_ssize_t limit):
        """See `Engine`."""
        cdef Py_ssize_t size
        cdef Py_ssize_t got
        cdef char *start
        cdef long waiting
        cdef int status
        cdef PyObject *plaintext
        if not self.usable():
            self._status = FAILED
            return b""
        if self.later != OK:
            self._status = self.later
            return b""
        waiting = ssl.BIO_get_mem_data(self.input, &start)
        size = ssl.SSL_pending(self.ssl)
        if waiting == 0 and size == 0:
            self._status = WANT
            return b""
        # Plaintext is never longer than its ciphertext; of a record begun earlier the first part is in OpenSSL already.
        size += waiting + self.partial
        if waiting > RECORD // 4:
            size += RECORD
        size = min(size, limit, MOST)
        plaintext = new_bytes(NULL, size)
        if plaintext is NULL:
            raise MemoryError
        start = content(plaintext)
        if size > BIG:
            self.busy = True
            with nogil:
                got = self.read_into(start, size, &status)
            self.busy = False
        else:
            got = self.read_into(start, size, &status)
        if status == WANT:
            self.partial = 0 if got else min(self.partial + waiting, RECORD + 256)
            if self.renew_input:
                self.replace_input(waiting)
        elif status != OK:
            self.later = status
        self._status = OK if got else status
        # Cut to nothing, it becomes the empty bytes object.
        if got != size and resize_bytes(&plaintext, got) < 0:
            raise MemoryError
        data = <object>plaintext
        Py_DECREF(data)
        return data

    cdef Py_ssize_t read_into(self, char *start, Py_ssize_t size, int *status) noexcept nogil:
        """Decrypt into `start` until it is full or nothing is left. How much it was."""
        cdef Py_ssize_t got = 0
        cdef char *unused
        cdef int result
        self.enter()
        status[0] = OK
        while got < size:
            result = ssl.SSL_read(self.ssl, start + got, <int>(size - got))
            if result <= 0:
                status[0] = self.status_of(result)
                break
            got += result
            if ssl.BIO_get_mem_data(self.input, &unused) == 0 and ssl.SSL_pending(self.ssl) == 0:
                status[0] = WANT
                break
        self.leave()
        return got

    def write(self, data):
        """See `Engine`."""
        cdef Py_buffer view
        cdef int status
        if not self.usable():
            return FAILED
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len > BIG:
                self.busy = True
                with nogil:
                    status = self.write_from(<char *>view.buf, view.len)
                self.busy = False
            else:
                status = self.write_from(<char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        return status

    cdef int write_from(self, const char *start, Py_ssize_t size) noexcept nogil:
        """Encrypt; OpenSSL takes one record at a time."""
        cdef Py_ssize_t done = 0
        cdef int result
        cdef int status = OK
        self.enter()
        while done < size:
            result = ssl.SSL_write(self.ssl, start + done, <int>min(size - done, MOST))
            if result <= 0:
                self.status_of(result)
                status = FAILED
                break
            done += result
        self.leave()
        return status

    def shutdown(self):
        """See `Engine`."""
        cdef int result
        cdef int status = OK
        if not self.usable():
            return FAILED
        self.enter()
        result = ssl.SSL_shutdown(self.ssl)
        if result < 0:
            self.status_of(result)
            status = FAILED
        self.leave()
        return status

    def take(self):
        """See `Engine`."""
        cdef char *start
        cdef long size
        if not self.usable():
            return b""
        size = ssl.BIO_get_mem_data(self.output, &start)
        if size <= 0:
            return b""
        size = min(size, <long>MOST)
        data = PyBytes_FromStringAndSize(NULL, size)
        ssl.BIO_read(self.output, PyBytes_AS_STRING(data), <int>size)
        if (self.renew_output or size > LARGE_BUFFER) and ssl.BIO_get_mem_data(self.output, &start) == 0:
            self.replace_output()
        return data

    cdef void replace_input(self, long waiting) noexcept:
        """A new, small input buffer in place of an empty one; not while large reads keep coming."""
        cdef char *unused
        cdef void *fresh
        if waiting > RECORD or ssl.BIO_get_mem_data(self.input, &unused) != 0:
            return
        fresh = ssl.BIO_new(ssl.BIO_s_mem())
        if fresh is not NULL:
            ssl.SSL_set_bio(self.ssl, fresh, self.output)
            self.input = fresh
            self.renew_input = False

    cdef void replace_output(self) noexcept:
        """A new, small output buffer in place of an empty one."""
        cdef void *fresh = ssl.BIO_new(ssl.BIO_s_mem())
        if fresh is not NULL:
            ssl.SSL_set_bio(self.ssl, self.input, fresh)
            self.output = fresh
            self.renew_output = False

    def info(self):
        """See `Engine`."""
        cdef const unsigned char *alpn = NULL
        cdef unsigned int alpn_size = 0
        if not self.usable():
            return ("", "", "", "", b"", False)
        ssl.SSL_get0_alpn_selected(self.ssl, &alpn, &alpn_size)
        return (
            text(ssl.SSL_get_version(self.ssl)),
            text(ssl.SSL_CIPHER_get_name(ssl.SSL_get_current_cipher(self.ssl))),
            # Without a session the group's name must not be asked for.
            "" if ssl.SSL_get_session(self.ssl) is NULL else text(ssl.SSL_get0_group_name(self.ssl)),
            text(ssl.SSL_get_servername(self.ssl, 0)),
            (<const char *>alpn)[:alpn_size] if alpn_size else b"",
            ssl.SSL_session_reused(self.ssl) == 1,
        )

    def close(self):
        """See `Engine`."""
        if self.usable():
            ssl.SSL_free(self.ssl)
            self.ssl = NULL
            self.input = NULL
            self.output = NULL
