"""The OpenSSL functions that `openssl.pyx` calls, each with its C type as cffi writes it.

The order is that of `Functions` in `openssl.pxd`.
"""

SIGNATURES = {
    "SSL_new": "SSL *(*)(SSL_CTX *)",
    "SSL_free": "void(*)(SSL *)",
    "SSL_set_SSL_CTX": "SSL_CTX *(*)(SSL *, SSL_CTX *)",
    "SSL_set_mode": "long(*)(SSL *, long)",
    "SSL_set_bio": "void(*)(SSL *, BIO *, BIO *)",
    "SSL_set_accept_state": "void(*)(SSL *)",
    "SSL_set_connect_state": "void(*)(SSL *)",
    "SSL_do_handshake": "int(*)(SSL *)",
    "SSL_read": "int(*)(SSL *, void *, int)",
    "SSL_write": "int(*)(SSL *, void *, int)",
    "SSL_pending": "int(*)(SSL *)",
    "SSL_shutdown": "int(*)(SSL *)",
    "SSL_get_error": "int(*)(SSL *, int)",
    "SSL_get_version": "char *(*)(SSL *)",
    "SSL_get_current_cipher": "SSL_CIPHER *(*)(SSL *)",
    "SSL_CIPHER_get_name": "char *(*)(SSL_CIPHER *)",
    "SSL_get0_group_name": "char *(*)(SSL *)",
    "SSL_get_session": "SSL_SESSION *(*)(SSL *)",
    "SSL_get_servername": "char *(*)(SSL *, int)",
    "SSL_get0_alpn_selected": "void(*)(SSL *, unsigned char * *, unsigned int *)",
    "SSL_session_reused": "int(*)(SSL *)",
    "SSL_get_verify_result": "long(*)(SSL *)",
    "SSL_CTX_set_info_callback": "void(*)(SSL_CTX *, void(*)(SSL *, int, int))",
    "SSL_CTX_set_alpn_select_cb": (
        "void(*)(SSL_CTX *, int(*)(SSL *, unsigned char * *, unsigned char *, unsigned char *, unsigned int, void *), void *)"
    ),
    "SSL_CTX_set_tlsext_servername_callback": "void(*)(SSL_CTX *, int(*)(SSL *, int *, void *))",
    "SSL_set_tlsext_host_name": "void(*)(SSL *, char *)",
    "SSL_get0_param": "X509_VERIFY_PARAM *(*)(SSL *)",
    "X509_VERIFY_PARAM_set1_host": "int(*)(X509_VERIFY_PARAM *, char *, size_t)",
    "X509_VERIFY_PARAM_set1_ip": "int(*)(X509_VERIFY_PARAM *, unsigned char *, size_t)",
    "X509_VERIFY_PARAM_set_hostflags": "void(*)(X509_VERIFY_PARAM *, unsigned int)",
    "BIO_new": "BIO *(*)(BIO_METHOD *)",
    "BIO_s_mem": "BIO_METHOD *(*)()",
    "BIO_free": "int(*)(BIO *)",
    "BIO_read": "int(*)(BIO *, void *, int)",
    "BIO_write": "int(*)(BIO *, void *, int)",
    "BIO_get_mem_data": "long(*)(BIO *, char * *)",
    "ERR_clear_error": "void(*)()",
    "ERR_peek_error": "unsigned long(*)()",
    "ERR_GET_REASON": "int(*)(unsigned long)",
}
