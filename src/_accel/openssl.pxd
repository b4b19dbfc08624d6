from cpython.ref cimport PyObject

from .engine cimport Engine, Session
from .openssl_names cimport Names

ctypedef void (*InfoCallback)(void *, int, int) noexcept nogil
ctypedef int (*ALPNCallback)(
    void *, const unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *) noexcept nogil
ctypedef int (*NameCallback)(void *, int *, void *) noexcept nogil
ctypedef int (*StatusCallback)(void *, void *) noexcept nogil
ctypedef void (*KeyLogCallback)(void *, const char *) noexcept


cdef struct Functions:
    void *(*SSL_new)(void *) noexcept nogil
    void (*SSL_free)(void *) noexcept nogil
    void *(*SSL_set_SSL_CTX)(void *, void *) noexcept nogil
    long (*SSL_set_mode)(void *, long) noexcept nogil
    void (*SSL_set_bio)(void *, void *, void *) noexcept nogil
    void (*SSL_set_accept_state)(void *) noexcept nogil
    void (*SSL_set_connect_state)(void *) noexcept nogil
    int (*SSL_do_handshake)(void *) noexcept nogil
    int (*SSL_read)(void *, void *, int) noexcept nogil
    int (*SSL_write)(void *, const void *, int) noexcept nogil
    int (*SSL_pending)(void *) noexcept nogil
    int (*SSL_shutdown)(void *) noexcept nogil
    int (*SSL_get_error)(void *, int) noexcept nogil
    const char *(*SSL_get_version)(void *) noexcept nogil
    void *(*SSL_get_current_cipher)(void *) noexcept nogil
    const char *(*SSL_CIPHER_get_name)(void *) noexcept nogil
    const char *(*SSL_get0_group_name)(void *) noexcept nogil
    void *(*SSL_get_session)(void *) noexcept nogil
    void *(*SSL_get1_session)(void *) noexcept nogil
    int (*SSL_set_session)(void *, void *) noexcept nogil
    void (*SSL_SESSION_free)(void *) noexcept nogil
    const char *(*SSL_get_servername)(void *, int) noexcept nogil
    void (*SSL_get0_alpn_selected)(void *, const unsigned char **, unsigned int *) noexcept nogil
    int (*SSL_session_reused)(void *) noexcept nogil
    long (*SSL_get_verify_result)(void *) noexcept nogil
    void (*SSL_CTX_set_info_callback)(void *, InfoCallback) noexcept nogil
    void (*SSL_CTX_set_alpn_select_cb)(void *, ALPNCallback, void *) noexcept nogil
    void (*SSL_CTX_set_tlsext_servername_callback)(void *, NameCallback) noexcept nogil
    long (*SSL_CTX_set_tlsext_status_cb)(void *, StatusCallback) noexcept nogil
    long (*SSL_set_tlsext_status_ocsp_resp)(void *, unsigned char *, int) noexcept nogil
    void *(*OPENSSL_malloc)(size_t) noexcept nogil
    void (*SSL_CTX_set_keylog_callback)(void *, KeyLogCallback) noexcept nogil
    void (*SSL_set_tlsext_host_name)(void *, const char *) noexcept nogil
    void *(*SSL_get0_param)(void *) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_host)(void *, const char *, size_t) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_ip)(void *, const unsigned char *, size_t) noexcept nogil
    void (*X509_VERIFY_PARAM_set_hostflags)(void *, unsigned int) noexcept nogil
    void *(*BIO_new)(void *) noexcept nogil
    void *(*BIO_s_mem)() noexcept nogil
    void *(*BIO_new_mem_buf)(const void *, int) noexcept nogil
    long (*BIO_set_mem_eof_return)(void *, int) noexcept nogil
    int (*BIO_free)(void *) noexcept nogil
    int (*BIO_read)(void *, void *, int) noexcept nogil
    int (*BIO_write)(void *, const void *, int) noexcept nogil
    long (*BIO_get_mem_data)(void *, char **) noexcept nogil
    void (*ERR_clear_error)() noexcept nogil
    unsigned long (*ERR_peek_error)() noexcept nogil
    int (*ERR_GET_REASON)(unsigned long) noexcept nogil
    void *(*SSL_get_peer_certificate)(void *) noexcept nogil
    void *(*SSL_get0_verified_chain)(void *) noexcept nogil
    void (*X509_free)(void *) noexcept nogil
    int (*i2d_X509_bio)(void *, void *) noexcept nogil
    int (*sk_X509_num)(void *) noexcept nogil
    void *(*sk_X509_value)(void *, int) noexcept nogil

cdef enum:
    # Status, as in engine.py
    OK = 0
    WANT = 1
    CLOSED = 2
    FAILED = 3

    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_WANT_WRITE = 3
    SSL_ERROR_WANT_X509_LOOKUP = 4
    SSL_ERROR_ZERO_RETURN = 6

    SSL_MODE_AUTO_RETRY = 4
    SSL_CB_LOOP = 0x01
    SSL_CB_WRITE = 0x08
    SSL_CB_ALERT = 0x4000
    SSL_TLSEXT_ERR_OK = 0
    SSL_TLSEXT_ERR_NOACK = 3

    HOST_FLAGS = 0x4 | 0x20  # no partial wildcards, never the common name

    # Room for a record: no cipher adds more to it, and none of ours are smaller.
    SMALLEST_RECORD = 4096
    RECORD_OVERHEAD = 128
    BIG = 8192
    SMALL = 2048  # bytes that are read at once without an object of that size
    RECORD = 16384
    LARGE_BUFFER = 32768
    HUGE_BUFFER = 262144
    MOST = 1 << 30  # OpenSSL counts in int


cdef Functions ssl
cdef bint loaded

cdef extern from *:
    """
    typedef struct {
        int alert;          /* last alert that matters, -1 for none */
        int received;
        int reason;         /* OpenSSL's reason code when it was sent */
        int established;
        long messages;      /* since the handshake was done */
        void *key_log;      /* Python's, borrowed from the context; NULL for none */
        const void *staple; /* of the bytes that the engine holds; NULL for none */
        int staple_size;
    } lockgate_notes;
    """
    ctypedef struct Notes "lockgate_notes":
        int alert
        int received
        int reason
        int established
        long messages
        void *key_log
        const void *staple
        int staple_size

cdef Notes *current_notes() noexcept nogil
cdef void on_info(void *connection, int where, int value) noexcept nogil

cdef class NativeSession(Session):
    cdef void *value

cdef class NativeEngine(Engine):
    cdef object context
    cdef str name  # client: of the server
    cdef bytes address
    cdef void *known  # client: the session that is not worth handing out; or NULL
    cdef Names names
    cdef bint verify
    cdef void *ssl
    cdef void *input
    cdef void *output
    cdef bytes lent  # what `input` reads where it lies, and cannot be written to; or None
    cdef Notes notes
    cdef bytes staple  # what `notes` points into, until the handshake is done
    cdef int later  # what the last read ended with after it had got some data
    cdef bint unread  # there may be something to read
    cdef bint busy
    cdef bint renew_input
    cdef bint renew_output
    cdef PyObject *ready  # ciphertext that was taken out already, a bytes object that nobody else knows; or NULL
    cdef char *ready_place
    cdef Py_ssize_t ready_size
    cdef Py_ssize_t ready_room
    cdef Py_ssize_t partial  # bytes of an incomplete record that OpenSSL has taken over

    cdef void know(self) noexcept nogil

    # Before and after a call
    cdef bint usable(self) except -1
    cdef int status_of(self, int result) noexcept nogil
    cdef void enter(self) noexcept nogil
    cdef void leave(self) noexcept nogil

    # Data
    cdef int feed_from(self, const char *start, Py_ssize_t size) except -1
    cdef bint lend(self, bytes data) except -1
    cdef Py_ssize_t read_into(self, char *start, Py_ssize_t size, int *status) noexcept nogil
    cdef int write_from(self, const char *start, Py_ssize_t size, Py_ssize_t record) noexcept nogil

    cdef void move_output(self) noexcept nogil

    # Memory
    cdef int read_from(self, void *buffer, bytes lent) except -1
    cdef void replace_input(self) noexcept
    cdef void replace_output(self) noexcept
