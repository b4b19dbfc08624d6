# cython: language_level=3str, boundscheck=False, wraparound=False
"""The native engine: OpenSSL called by address.

Nothing is linked. The functions are those of the OpenSSL inside cryptography, which pyOpenSSL has configured the `SSL_CTX`
with; `load` is given their addresses after each was found with its type of `openssl_table.py` (see `core/tls/binding.py`).
The interface and its meaning are `Engine`'s in `engine.py`; C declarations are in `openssl.pxd`.

Callbacks
    OpenSSL calls back while one of our calls runs, on the same thread. So each call leaves a pointer to the connection's
    notes in a thread-local variable, and the callback writes there: no table of connections, no GIL.

The GIL
    is released around handshakes, and around reads and writes of more than `BIG` bytes; for smaller ones giving it up costs
    more than it gives. Meanwhile `busy` is set, and a second thread gets a RuntimeError instead of a race.

Lifetime
    An engine owns its SSL, which owns both buffers; `close`, or the end of the object, frees it once. It keeps its
    `NativeContext` (`openssl_context.pyx`), which keeps the pyOpenSSL `Context` and what the ALPN callback points to.
    After `close` no method touches OpenSSL. A `NativeSession` owns one reference to its SSL_SESSION.

Memory
    OpenSSL's memory buffers never shrink, and growing one means a new allocation and a copy. So they are replaced by new
    ones after the handshake, and one that has become large once it is empty and little comes (`take`, `read`) or
    nothing is expected (`rest`), but not between the pieces of a long transfer.
    They also fill with zeros what is about to be written to them, so more than a record is read from where it lies (`lend`).
    Ciphertext is copied out of the output buffer: beside the encryption that cost could not be measured, neither for 200
    bytes nor for 64 KiB, and the one who sends it has no buffer of ours to look after.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, PyObject
from libc.stdint cimport uintptr_t
from libc.string cimport strcmp

from .engine cimport Engine, Session
from .openssl_buffers cimport new_buffer, reader_of, waiting_in
from .openssl_names cimport Names
from .openssl_peer cimport chain_of

from .openssl_table import SIGNATURES


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #define LOCKGATE_THREAD_LOCAL __declspec(thread)
    #else
    #define LOCKGATE_THREAD_LOCAL __thread
    #endif

    static LOCKGATE_THREAD_LOCAL lockgate_notes *lockgate_current;
    """
    Notes *current "lockgate_current"

cdef extern from "Python.h":
    # Declared again with plain pointers: a new bytes object is filled, and cut to size, before anyone sees it.
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t)
    char *content "PyBytes_AS_STRING"(PyObject *)
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t)

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


cdef Notes *current_notes() noexcept nogil:
    """The notes of the connection whose call into OpenSSL is running on this thread, or NULL."""
    return current


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


@cython.final
cdef class NativeSession(Session):
    """An SSL_SESSION."""

    def __dealloc__(self):
        if self.value is not NULL:
            ssl.SSL_SESSION_free(self.value)
            self.value = NULL


@cython.final
cdef class NativeEngine(Engine):
    """OpenSSL between two memory buffers."""

    def __cinit__(self):
        self.ssl = NULL
        self.input = NULL
        self.output = NULL
        self.ready = NULL
        self.alert = self.notes.alert = -1

    def __dealloc__(self):
        if self.ssl is not NULL:
            ssl.SSL_free(self.ssl)
            self.ssl = NULL
        if self.known is not NULL:
            ssl.SSL_SESSION_free(self.known)
            self.known = NULL
        if self.ready is not NULL:
            Py_DECREF(<object>self.ready)
            self.ready = NULL

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
        self.alert = self.notes.alert
        self.alert_received = self.notes.received != 0
        self.reason = self.notes.reason
        if self.verify:
            self.verify_result = ssl.SSL_get_verify_result(self.ssl)
        return FAILED

    cdef void enter(self) noexcept nogil:
        """Before an OpenSSL call that may call back."""
        global current
        # What another's call has left behind would be taken for this one's error.
        if ssl.ERR_peek_error() != 0:
            ssl.ERR_clear_error()
        current = &self.notes

    cdef void leave(self) noexcept nogil:
        global current
        current = NULL
        self.messages = self.notes.messages

    cpdef feed(self, data):
        """See `Engine`."""
        cdef Py_buffer view
        if not self.usable() or type(data) is bytes and self.lend(data):
            return
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.feed_from(<char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cpdef feed_part(self, bytearray buffer, Py_ssize_t size):
        """See `Engine`."""
        if not 0 <= size <= PyByteArray_GET_SIZE(buffer):
            raise ValueError("there are not so many bytes in the buffer")
        if self.usable() and not (size > RECORD and self.lend(PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer), size))):
            self.feed_from(PyByteArray_AS_STRING(buffer), size)

    cdef bint lend(self, bytes data) except -1:
        """Have `data` read where it lies, if it is large and nothing waits in front of it. Whether that is so."""
        if not RECORD < len(data) <= MOST or waiting_in(&ssl, self.input):
            return False
        self.read_from(reader_of(&ssl, PyBytes_AS_STRING(data), <int>len(data)), data)
        self.unread = True
        return True

    cdef int read_from(self, void *buffer, bytes lent) except -1:
        """`buffer` is where input comes from now; the one before it is freed. MemoryError if there is none."""
        if buffer is NULL:
            raise MemoryError
        ssl.SSL_set_bio(self.ssl, buffer, self.output)
        self.input = buffer
        self.lent = lent
        return 0

    cdef int feed_from(self, const char *start, Py_ssize_t size) except -1:
        cdef Py_ssize_t done = 0
        cdef int part
        if self.lent is not None:
            self.read_from(new_buffer(&ssl, self.input), None)
        while done < size:
            part = <int>min(size - done, MOST)
            if ssl.BIO_write(self.input, start + done, part) != part:
                raise MemoryError
            done += part
        if size > 0:
            self.unread = True
        if size > RECORD:
            self.renew_input = True
        return 0

    cpdef int handshake(self) except -1:
        """See `Engine`."""
        cdef int result, status
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
            self.notes.staple = NULL
            self.staple = None
            self.renew_input = True
            self.renew_output = True
            if self.name is not None and strcmp(ssl.SSL_get_version(self.ssl), "TLSv1.3") == 0:
                self.know()
        return status

    cpdef bytes read(self, Py_ssize_t limit):
        """See `Engine`."""
        cdef Py_ssize_t size, got
        cdef char small[SMALL]
        cdef char *start = small
        cdef long waiting
        cdef int status
        cdef PyObject *plaintext
        self.status = self.later if self.usable() else FAILED
        if self.status != OK:
            return b""
        if not self.unread:
            self.status = WANT
            return b""
        waiting = waiting_in(&ssl, self.input)
        size = ssl.SSL_pending(self.ssl)
        if waiting == 0 and size == 0:
            self.unread = False
            self.status = WANT
            return b""
        # Plaintext is never longer than its ciphertext; of a record begun earlier the first part is in OpenSSL already.
        size += waiting + self.partial
        if waiting > RECORD // 4:
            size += RECORD
        size = min(size, limit, MOST)
        if size > SMALL:
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
            self.unread = False
            self.partial = 0 if got else min(self.partial + waiting, RECORD + 256)
            # Not while large reads keep coming; what was lent may be large, and somebody else's.
            if self.lent is not None or self.renew_input and waiting <= RECORD:
                self.replace_input()
        elif status != OK:
            self.later = status
        self.status = OK if got else status
        if start == small:  # to copy it is less than to cut an object that is too large
            return small[:got]
        # Cut to nothing, it becomes the empty bytes object.
        if got != size and resize_bytes(&plaintext, got) < 0:
            raise MemoryError
        data = <bytes>plaintext
        Py_DECREF(data)
        return data

    cdef Py_ssize_t read_into(self, char *start, Py_ssize_t size, int *status) noexcept nogil:
        """Decrypt into `start` until it is full or nothing is left. How much it was."""
        cdef Py_ssize_t got = 0
        cdef int result
        self.enter()
        status[0] = OK
        while got < size:
            result = ssl.SSL_read(self.ssl, start + got, <int>(size - got))
            if result <= 0:
                status[0] = self.status_of(result)
                break
            got += result
            if waiting_in(&ssl, self.input) == 0 and ssl.SSL_pending(self.ssl) == 0:
                status[0] = WANT
                break
        self.leave()
        return got

    cpdef expect(self, Py_ssize_t size):
        """See `Engine`.

        Each record is then moved out of OpenSSL's buffer as soon as it is there. So that buffer stays small and its memory
        is used again for the next record, instead of growing to the size of all of them.
        """
        cdef Py_ssize_t room
        if size <= BIG or self.ready is not NULL or not self.usable():
            return
        room = size + (size // SMALLEST_RECORD + 2) * RECORD_OVERHEAD + waiting_in(&ssl, self.output)
        self.ready = new_bytes(NULL, room)
        if self.ready is NULL:
            raise MemoryError
        self.ready_place = content(self.ready)
        self.ready_size = 0
        self.ready_room = room
        self.move_output()

    cdef void move_output(self) noexcept nogil:
        """Move what is in OpenSSL's buffer behind what is ready; what finds no room stays and comes after it."""
        cdef long waiting = waiting_in(&ssl, self.output)
        cdef Py_ssize_t room = self.ready_room - self.ready_size
        if waiting <= 0 or room <= 0:
            return
        waiting = min(waiting, <long>room, <long>MOST)
        ssl.BIO_read(self.output, self.ready_place + self.ready_size, <int>waiting)
        self.ready_size += waiting

    cpdef int write_part(self, data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t record) except -1:
        """See `Engine`."""
        cdef Py_buffer view
        cdef int status
        if not self.usable():
            return FAILED
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= start <= end <= view.len or record <= 0:
                raise ValueError("there is no such part")
            if end - start > BIG:
                self.busy = True
                with nogil:
                    status = self.write_from(<char *>view.buf + start, end - start, record)
                self.busy = False
            else:
                status = self.write_from(<char *>view.buf + start, end - start, record)
        finally:
            PyBuffer_Release(&view)
        return status

    cdef int write_from(self, const char *start, Py_ssize_t size, Py_ssize_t record) noexcept nogil:
        """Encrypt; OpenSSL takes one record at a time."""
        cdef Py_ssize_t done = 0
        cdef int result
        cdef int status = OK
        self.enter()
        while done < size:
            result = ssl.SSL_write(self.ssl, start + done, <int>min(size - done, record, MOST))
            if result <= 0:
                self.status_of(result)
                status = FAILED
                break
            done += result
            if self.ready is not NULL:
                self.move_output()
        self.leave()
        return status

    cpdef int shutdown(self) except -1:
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

    cpdef bytes take(self):
        """See `Engine`."""
        cdef long size
        cdef bytes data
        cdef PyObject *ready
        if not self.usable():
            return b""
        if self.ready is not NULL:
            self.move_output()
            ready = self.ready
            size = self.ready_size
            self.ready = NULL
            if resize_bytes(&ready, size) < 0:
                raise MemoryError
            data = <bytes>ready
            Py_DECREF(data)
            self.renew_output = True
            return data + self.take() if waiting_in(&ssl, self.output) > 0 else data
        size = waiting_in(&ssl, self.output)
        if size <= 0:
            return b""
        size = min(size, <long>MOST)
        data = PyBytes_FromStringAndSize(NULL, size)
        ssl.BIO_read(self.output, PyBytes_AS_STRING(data), <int>size)
        if size > HUGE_BUFFER or self.renew_output and size <= RECORD:
            self.replace_output()
        elif size > LARGE_BUFFER:
            self.renew_output = True
        return data

    cpdef rest(self):
        """See `Engine`."""
        if self.usable():
            if self.renew_input:
                self.replace_input()
            if self.renew_output:
                self.replace_output()

    cdef void replace_input(self) noexcept:
        """A new, small input buffer in place of an empty one, or of what was lent and has been read."""
        cdef void *fresh = NULL if waiting_in(&ssl, self.input) else new_buffer(&ssl, self.input)
        if fresh is not NULL:
            self.read_from(fresh, None)
            self.renew_input = False

    cdef void replace_output(self) noexcept:
        """A new, small output buffer in place of an empty one."""
        cdef void *fresh = NULL if waiting_in(&ssl, self.output) else new_buffer(&ssl, self.output)
        if fresh is not NULL:
            ssl.SSL_set_bio(self.ssl, self.input, fresh)
            self.output = fresh
            self.renew_output = False

    cpdef tuple info(self):
        """See `Engine`."""
        cdef const unsigned char *alpn = NULL
        cdef unsigned int alpn_size = 0
        if not self.usable():
            return ("", "", "", "", b"", False)
        ssl.SSL_get0_alpn_selected(self.ssl, &alpn, &alpn_size)
        return (
            self.names.version.of(ssl.SSL_get_version(self.ssl)),
            self.names.cipher.of(ssl.SSL_CIPHER_get_name(ssl.SSL_get_current_cipher(self.ssl))),
            # Without a session the group's name must not be asked for.
            "" if ssl.SSL_get_session(self.ssl) is NULL else self.names.group.of(ssl.SSL_get0_group_name(self.ssl)),
            self.names.server.of(ssl.SSL_get_servername(self.ssl, 0)),
            (<const char *>alpn)[:alpn_size] if alpn_size else b"",
            ssl.SSL_session_reused(self.ssl) == 1,
        )

    cpdef tuple peer_chain(self):
        """See `Engine`."""
        return chain_of(&ssl, self.ssl, self.verify) if self.usable() else ()

    cdef void know(self) noexcept nogil:
        """The session that there is now is not worth handing out: it has no ticket yet, or was handed out.

        It is kept, so that a new one cannot have the same address.
        """
        if self.known is not NULL:
            ssl.SSL_SESSION_free(self.known)
        self.known = ssl.SSL_get1_session(self.ssl)

    cpdef session(self):
        """See `Engine`."""
        cdef NativeSession found
        if not self.usable() or self.name is None or not self.notes.established:
            return None
        if ssl.SSL_get_session(self.ssl) == self.known:
            return None
        found = NativeSession.__new__(NativeSession)
        found.owner = self.context
        found.name = self.name
        found.address = self.address
        found.single_use = strcmp(ssl.SSL_get_version(self.ssl), "TLSv1.3") == 0
        found.value = ssl.SSL_get1_session(self.ssl)
        self.know()
        return found

    cpdef close(self):
        """See `Engine`."""
        if self.usable():
            ssl.SSL_free(self.ssl)
            self.ssl = NULL
            self.input = NULL
            self.output = NULL
            self.lent = None
