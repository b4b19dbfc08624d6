/* The least that TLS through memory buffers can cost: see floor.py.

One loop, one thread. A client's plaintext goes to a connection to the backend of its own (kept for the next client when it
leaves), the backend's answer goes back encrypted. Nothing is parsed, routed, bounded or timed, nobody is told of an error, and a
write waits until the socket has taken all of it. What it shares with lockgate's native gear: OpenSSL by address, the sizes of
reads, and that many sockets are read before what that has led to is sent: here all of a batch, so its times of answers are
no floor.

Over HTTP/2 a request is the number of its stream, whatever it asks for, and becomes the same few bytes for a connection to the
backend; the answer has to come in one piece, and its body goes back behind a head that is always the same. Windows are not
looked at. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 65536, BATCH = 128, TLS_READ = 16384, PLAIN_READ = 114688, RELEASE_BUFFERS = 0x10, NO_ANSWER = 3 };

/* HTTP/2: RFC 9113 sections 3.4, 4.1 and 6. The answer's head is `:status: 200` and `content-length: 200` (RFC 7541). */
enum { PREFACE = 24, FRAME = 9, DATA = 0, HEADERS = 1, SETTINGS = 4, ACK = 1, END_STREAM = 1, END_HEADERS = 4 };
#define REQUEST "GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define ANSWER "\x88\x0f\x0d\x03" "200"

struct functions { /* in the order of floor.py */
  void *(*SSL_new)(void *context);
  void (*SSL_free)(void *ssl);
  void (*SSL_set_bio)(void *ssl, void *in, void *out);
  void (*SSL_set_accept_state)(void *ssl);
  long (*SSL_set_mode)(void *ssl, long mode);
  int (*SSL_do_handshake)(void *ssl);
  int (*SSL_read)(void *ssl, void *to, int size);
  int (*SSL_write)(void *ssl, const void *from, int size);
  int (*SSL_shutdown)(void *ssl);
  void *(*BIO_new)(void *method);
  void *(*BIO_s_mem)(void);
  int (*BIO_read)(void *bio, void *to, int size);
  int (*BIO_write)(void *bio, const void *from, int size);
  void (*ERR_clear_error)(void);
  void (*SSL_get0_alpn_selected)(void *ssl, const unsigned char **name, unsigned *size);
  void (*SSL_CTX_set_alpn_select_cb)(void *context, int (*choose)(), void *argument);
};

struct end {
  int fd;
  struct end *other; /* NULL: a connection to the backend that waits for a client */
  void *ssl, *in, *out; /* a client's */
  int is_open; /* its handshake is done */
  int is_last; /* it said `Connection: close`; 2: that was answered */
  int waits; /* it is in `dirty` */
  char *held; /* for the peer, until the end of the batch */
  int size;
  unsigned char *frames; /* HTTP/2: what has come of it */
  int got, is_begun; /* the second: the preface has been read */
  unsigned stream; /* that a connection to the backend works for */
};

static const struct functions *o;
static void *context;
static int epoll, listener, backend;
static char buffer[1 << 18];
static struct end *dirty[2 * MOST], *kept[MOST];
static int dirties, keeps;

static void send_later(struct end *end) {
  if (!end->waits) {
    end->waits = 1;
    dirty[dirties++] = end;
  }
}

static struct end *watch(int fd) {
  struct end *end = calloc(1, sizeof *end);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
  int one = 1;
  end->fd = fd;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  return end;
}

static struct end *to_backend(void) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(backend), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd;
  if (keeps)
    return kept[--keeps];
  fd = socket(AF_INET, SOCK_STREAM, 0);
  connect(fd, (struct sockaddr *)&name, sizeof name);
  struct end *end = watch(fd);
  end->held = malloc(MOST);
  return end;
}

static void accept_one(void) {
  int fd = accept(listener, NULL, NULL);
  if (fd < 0)
    return;
  struct end *client = watch(fd);
  client->other = to_backend();
  client->other->other = client;
  client->held = malloc(MOST);
  client->ssl = o->SSL_new(context);
  client->in = o->BIO_new(o->BIO_s_mem());
  client->out = o->BIO_new(o->BIO_s_mem());
  o->SSL_set_bio(client->ssl, client->in, client->out);
  o->SSL_set_accept_state(client->ssl);
  o->SSL_set_mode(client->ssl, RELEASE_BUFFERS);
}

static void keep(struct end *server) {
  server->other = NULL;
  server->size = 0;
  kept[keeps++] = server;
}

static void close_client(struct end *client) {
  close(client->fd);
  client->fd = -1;
  o->SSL_free(client->ssl);
  if (client->other)
    keep(client->other);
}

static void flush(struct end *end) {
  end->waits = 0;
  if (end->fd < 0)
    return;
  if (!end->ssl) {
    send(end->fd, end->held, end->size, MSG_NOSIGNAL);
    end->size = 0;
    return;
  }
  if (end->size)
    o->SSL_write(end->ssl, end->held, end->size);
  end->size = 0;
  for (int size; (size = o->BIO_read(end->out, buffer, sizeof buffer)) > 0;)
    send(end->fd, buffer, size, MSG_NOSIGNAL);
  if (end->is_last == 2)
    close_client(end);
}

static void put_frame(struct end *client, int type, int flags, unsigned stream, const void *payload, int size) {
  char head[] = {size >> 16, size >> 8, size, type, flags, stream >> 24, stream >> 16, stream >> 8, stream};
  if (client->size + FRAME + size > MOST)
    flush(client);
  memcpy(client->held + client->size, head, FRAME);
  memcpy(client->held + client->size + FRAME, payload, size);
  client->size += FRAME + size;
  send_later(client);
}

static int choose(void *ssl, const unsigned char **name, unsigned char *size, const unsigned char *offered, unsigned length) {
  unsigned char *found = memmem(offered, length, "\2h2", 3);
  if (!found)
    return NO_ANSWER;
  *name = found + 1;
  *size = 2;
  return 0;
}

static void begin(struct end *client) {
  const unsigned char *name;
  unsigned size;
  o->SSL_get0_alpn_selected(client->ssl, &name, &size);
  if (size != 2)
    return;
  client->frames = malloc(2 * MOST);
  if (client->other)
    keep(client->other);
  client->other = NULL;
  put_frame(client, SETTINGS, 0, 0, NULL, 0);
}

static void frames_from(struct end *client) {
  int at = 0, size;
  for (;;) {
    unsigned char *frame = client->frames + at;
    if (!client->is_begun) {
      if (client->got < PREFACE)
        break;
      client->is_begun = 1;
      at = PREFACE;
      continue;
    }
    if (client->got - at < FRAME || client->got - at < FRAME + (size = frame[0] << 16 | frame[1] << 8 | frame[2]))
      break;
    at += FRAME + size;
    if (frame[3] == SETTINGS && !(frame[4] & ACK)) {
      put_frame(client, SETTINGS, ACK, 0, NULL, 0);
    } else if (frame[3] == HEADERS) {
      struct end *server = to_backend();
      server->other = client;
      server->stream = frame[5] << 24 | frame[6] << 16 | frame[7] << 8 | frame[8];
      server->size = sizeof REQUEST - 1;
      memcpy(server->held, REQUEST, server->size);
      send_later(server);
    }
  }
  client->got -= at;
  memmove(client->frames, client->frames + at, client->got);
}

static void answer(struct end *server, int size) {
  struct end *client = server->other;
  char *body = memmem(buffer, size, "\r\n\r\n", 4);
  if (body && client->fd >= 0) {
    body += 4;
    put_frame(client, HEADERS, END_HEADERS, server->stream, ANSWER, sizeof ANSWER - 1);
    put_frame(client, DATA, END_STREAM, server->stream, body, buffer + size - body);
  }
  keep(server);
}

static void from_client(struct end *client) {
  int size = recv(client->fd, buffer, TLS_READ, MSG_DONTWAIT);
  struct end *server = client->other;
  if (size < 0)
    return;
  if (size == 0 || (!server && !client->frames)) {
    close_client(client);
    return;
  }
  o->BIO_write(client->in, buffer, size);
  o->ERR_clear_error();
  if (!client->is_open) {
    client->is_open = o->SSL_do_handshake(client->ssl) == 1;
    if (client->is_open)
      begin(client);
    send_later(client);
  }
  if (client->frames) {
    while ((size = o->SSL_read(client->ssl, client->frames + client->got, 2 * MOST - client->got)) > 0) {
      client->got += size;
      frames_from(client);
    }
    return;
  }
  while (client->is_open && (size = o->SSL_read(client->ssl, server->held + server->size, MOST - server->size)) > 0) {
    char *option = memmem(server->held, server->size + size, "Connection: close", 17);
    if (option) {
      *option = 'X'; /* the connection to the backend is kept */
      client->is_last = 1;
    }
    server->size += size;
    if (server->size == MOST)
      flush(server);
    else
      send_later(server);
  }
}

static void from_backend(struct end *server) {
  int size = recv(server->fd, buffer, PLAIN_READ, MSG_DONTWAIT);
  struct end *client = server->other;
  if (size == 0) {
    close(server->fd);
    server->fd = -1;
    if (client)
      client->other = NULL;
  }
  if (size <= 0 || !client)
    return;
  o->ERR_clear_error();
  if (client->frames) {
    answer(server, size);
    return;
  }
  for (int sent = 0, count; sent < size; sent += count) /* a record at a time */
    if ((count = o->SSL_write(client->ssl, buffer + sent, size - sent)) <= 0)
      break;
  if (client->is_last) {
    o->SSL_shutdown(client->ssl);
    client->is_last = 2;
  }
  send_later(client);
}

void serve(const struct functions *table, void *ssl_context, int listening, int port) {
  struct epoll_event events[BATCH], event = {.events = EPOLLIN, .data.ptr = NULL};
  o = table;
  context = ssl_context;
  listener = listening;
  backend = port;
  o->SSL_CTX_set_alpn_select_cb(context, choose, NULL);
  epoll = epoll_create1(0);
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(epoll, events, BATCH, -1);
    for (int i = 0; i < ready; i++) {
      struct end *end = events[i].data.ptr;
      if (!end)
        accept_one();
      else if (end->fd < 0)
        continue;
      else if (end->ssl)
        from_client(end);
      else
        from_backend(end);
    }
    for (int i = 0; i < dirties; i++)
      flush(dirty[i]);
    dirties = 0;
  }
}
