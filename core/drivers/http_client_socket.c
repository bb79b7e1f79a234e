#include "http_client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* How libcurl's sockets are watched.
 *
 * libcurl gives a connection up between two requests and takes it again with the next. Telling that to
 * the system would cost two calls for each request, so the socket of a connection that has come about
 * is watched as long as it is open; what comes while libcurl does not want it (the peer closes) ends
 * the watching. Sockets that are not wanted keep no loop alive.
 *
 * Only of such a socket can we be sure to be told when it is closed. libcurl (7.87 to 8.x) closes those
 * of attempts that have failed by itself, and does not say either that another one has the same number
 * and is to be watched for the same. */
struct neap__http_socket {
  uv_poll_t poll;
  neap_loop *loop;
  neap__http_client *client; /* NULL: it is closing */
  int wanted;                /* events that libcurl waits for; 0: none */
  int watched;               /* ... that the system is asked for */
  bool is_kept;              /* we are told when it is closed */
};

/* ---- By descriptor -------------------------------------------------------------------------- */

static bool reserve(neap__http_client *client, size_t fd) {
  if (fd < client->capacity) return true;
  size_t capacity = client->capacity ? client->capacity : 64;
  while (capacity <= fd) capacity *= 2;
  neap__http_place *sockets =
      neap__memory_resize(&client->loop->memory, client->sockets, capacity * sizeof *sockets);
  if (!sockets) return false;
  for (size_t i = client->capacity; i < capacity; i++) sockets[i] = (neap__http_place){0};
  client->sockets = sockets;
  client->capacity = capacity;
  return true;
}

static neap__http_socket *socket_of(const neap__http_client *client, curl_socket_t fd) {
  return fd >= 0 && (size_t)fd < client->capacity ? client->sockets[fd].socket : NULL;
}

static int add(neap__http_client *client, curl_socket_t fd, neap__http_socket **result) {
  neap_loop *loop = client->loop;
  neap__http_socket *self = NULL;
  if (reserve(client, (size_t)fd)) self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return UV_ENOMEM;
  int code = uv_poll_init(loop->uv, &self->poll, fd);
  if (code) {
    neap__memory_free(&loop->memory, self);
    return code;
  }
  uv_unref((uv_handle_t *)&self->poll);
  self->poll.data = self;
  self->client = client;
  self->loop = loop;
  client->sockets[fd].socket = *result = self;
  neap__loop_anchor(loop);
  return 0;
}

static void on_closed(uv_handle_t *handle) {
  neap__http_socket *self = handle->data;
  neap_loop *loop = self->loop;
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

/* The descriptor may be closed as soon as this returns. */
static void drop(neap__http_client *client, curl_socket_t fd) {
  neap__http_socket *self = socket_of(client, fd);
  if (!self) return;
  client->sockets[fd].socket = NULL;
  self->client = NULL;
  uv_close((uv_handle_t *)&self->poll, on_closed);
}

void neap__http_drop_sockets(neap__http_client *client) {
  for (size_t fd = 0; fd < client->capacity; fd++) drop(client, (curl_socket_t)fd);
}

/* ---- Events -------------------------------------------------------------------------------- */

/* 0: libcurl looks for itself. It would take an error for the end of all attempts to connect. */
static int to_mask(int status, int events) {
  if (status < 0) return 0;
  return (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
         (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
}

static void on_event(uv_poll_t *poll, int status, int events) {
  neap__http_socket *self = poll->data;
  neap__http_client *client = self->client;
  uv_os_fd_t fd;
  int running;
  if (status < 0 || !self->wanted) {
    uv_poll_stop(poll);
    self->watched = 0;
  }
  if (!self->wanted || uv_fileno((uv_handle_t *)poll, &fd)) return;
  client->is_working = true;
  curl_multi_socket_action(client->multi, fd, to_mask(status, events), &running);
  client->is_working = false;
  neap__http_client_work(client);
}

static int to_events(int what) {
  return (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
}

static void want(neap__http_socket *self, int events) {
  if (!self->wanted) uv_ref((uv_handle_t *)&self->poll);
  self->wanted = events;
  if (events == self->watched) return;
  uv_poll_start(&self->poll, events, on_event);
  self->watched = events;
}

/* Nobody wants it for now. Where it is watched for room to write, that would tell of nothing else. */
static void leave(neap__http_socket *self) {
  self->wanted = 0;
  uv_unref((uv_handle_t *)&self->poll);
  if (!(self->watched & UV_WRITABLE)) return;
  uv_poll_stop(&self->poll);
  self->watched = 0;
}

static void remove_socket(neap__http_client *client, curl_socket_t fd) {
  neap__http_socket *self = socket_of(client, fd);
  if ((size_t)fd < client->capacity) client->sockets[fd].asked = 0;
  if (self && self->is_kept)
    leave(self);
  else
    drop(client, fd);
}

static neap__http_transfer *transfer_of(CURL *curl) {
  neap__http_easy *easy = NULL;
  curl_easy_getinfo(curl, CURLINFO_PRIVATE, &easy);
  return easy ? easy->transfer : NULL;
}

/* An error here would end all transfers. */
static void give_up(CURL *curl, int code) {
  neap__http_transfer *transfer = transfer_of(curl);
  if (transfer) neap__http_transfer_doom(transfer, code, "poll");
}

/* An attempt to connect has failed, it seems. libcurl begins the next one when it is called again, for which
 * it does not ask where no time is set. */
static void note_attempt(CURL *curl, neap__http_client *client) {
  const neap__http_transfer *transfer = transfer_of(curl);
  if (transfer && transfer->has_opened && client->is_working) client->must_look = true;
}

int neap__http_on_socket(CURL *curl, curl_socket_t fd, int what, void *data, void *known) {
  neap__http_client *client = data;
  neap__http_socket *self = socket_of(client, fd);
  (void)known;
  if (what == CURL_POLL_REMOVE) {
    note_attempt(curl, client);
    remove_socket(client, fd);
    return 0;
  }
  int code = self ? 0 : add(client, fd, &self);
  if (code) {
    give_up(curl, code);
    return 0;
  }
  client->sockets[fd].asked = to_events(what);
  want(self, client->sockets[fd].asked);
  return 0;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

/* The descriptor may have had another socket before, which libcurl has closed, and of which it thinks that
 * it is watched. */
static int renew(neap__http_client *client, curl_socket_t fd) {
  neap__http_socket *self;
  drop(client, fd);
  int code = add(client, fd, &self);
  if (!code && client->sockets[fd].asked) want(self, client->sockets[fd].asked);
  return code;
}

/* A family that the system does not have may be followed by one that it has. */
static void note_failure(neap__http_transfer *transfer, int number) {
  if (number == EAFNOSUPPORT || number == EPROTONOSUPPORT) return;
  neap__http_transfer_doom(transfer, uv_translate_sys_error(number), "socket");
}

static curl_socket_t on_open(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
  neap__http_transfer *transfer = ((neap__http_easy *)data)->transfer;
  (void)purpose;
  neap__http_transfer_connect(transfer);
  transfer->has_opened = true;
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) {
    note_failure(transfer, errno);
    return CURL_SOCKET_BAD;
  }
  int code = renew(transfer->client, fd);
  if (!code) return fd;
  neap__http_transfer_doom(transfer, code, "poll");
  close(fd);
  return CURL_SOCKET_BAD;
}

void neap__http_keep_socket(neap__http_transfer *transfer) {
  curl_socket_t fd = CURL_SOCKET_BAD;
  transfer->has_opened = false;
  curl_easy_getinfo(transfer->easy->curl, CURLINFO_ACTIVESOCKET, &fd);
  neap__http_socket *self = socket_of(transfer->client, fd);
  if (self) self->is_kept = true;
}

static int on_close(void *data, curl_socket_t fd) {
  drop(data, fd);
  return close(fd);
}

CURLcode neap__http_watch_sockets(neap__http_client *self, neap__http_easy *easy) {
  CURLcode code = curl_easy_setopt(easy->curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
  if (!code) code = curl_easy_setopt(easy->curl, CURLOPT_OPENSOCKETDATA, easy);
  if (!code) code = curl_easy_setopt(easy->curl, CURLOPT_CLOSESOCKETFUNCTION, on_close);
  if (!code) code = curl_easy_setopt(easy->curl, CURLOPT_CLOSESOCKETDATA, self);
  return code;
}
