#include "http_client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* How libcurl's sockets are watched.
 *
 * libcurl gives a connection up between two requests and takes it again with the next. Telling that to
 * the system would cost two calls for each request, so a socket is watched as long as it is open; what
 * comes while libcurl does not want it (the peer closes) ends the watching. Sockets that are not
 * wanted keep no loop alive. */
struct neap__http_socket {
  uv_poll_t poll;
  neap__http_client *client; /* NULL: it is closing */
  neap_loop *loop;
  int events; /* what the system watches; 0: nothing */
  bool is_wanted;
  bool is_foreign; /* not opened by us: libcurl tells when it goes */
};

/* ---- By descriptor -------------------------------------------------------------------------- */

static bool reserve(neap__http_client *client, size_t fd) {
  if (fd < client->capacity) return true;
  size_t capacity = client->capacity ? client->capacity : 64;
  while (capacity <= fd) capacity *= 2;
  neap__http_socket **sockets = neap__memory_resize(&client->loop->memory, client->sockets,
                                                    capacity * sizeof(neap__http_socket *));
  if (!sockets) return false;
  for (size_t i = client->capacity; i < capacity; i++) sockets[i] = NULL;
  client->sockets = sockets;
  client->capacity = capacity;
  return true;
}

static neap__http_socket *socket_of(const neap__http_client *client, curl_socket_t fd) {
  return fd >= 0 && (size_t)fd < client->capacity ? client->sockets[fd] : NULL;
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
  client->sockets[fd] = *result = self;
  neap__loop_anchor(loop);
  return 0;
}

/* The pair by which a thread tells that a name was looked up. */
static int add_foreign(neap__http_client *client, curl_socket_t fd, neap__http_socket **result) {
  int code = add(client, fd, result);
  if (!code) (*result)->is_foreign = true;
  return code;
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
  client->sockets[fd] = NULL;
  self->client = NULL;
  uv_close((uv_handle_t *)&self->poll, on_closed);
}

/* ---- Events -------------------------------------------------------------------------------- */

static int to_mask(int status, int events) {
  if (status < 0) return CURL_CSELECT_ERR;
  return (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
         (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
}

static void on_event(uv_poll_t *poll, int status, int events) {
  neap__http_socket *self = poll->data;
  neap__http_client *client = self->client;
  uv_os_fd_t fd;
  int running;
  if (status < 0 || !self->is_wanted) {
    uv_poll_stop(poll);
    self->events = 0;
  }
  if (!self->is_wanted || uv_fileno((uv_handle_t *)poll, &fd)) return;
  client->is_working = true;
  curl_multi_socket_action(client->multi, fd, to_mask(status, events), &running);
  client->is_working = false;
  neap__http_client_work(client);
}

static int to_events(int what) {
  return (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
}

static void want(neap__http_socket *self, int events) {
  self->is_wanted = true;
  uv_ref((uv_handle_t *)&self->poll);
  if (events == self->events) return;
  uv_poll_start(&self->poll, events, on_event);
  self->events = events;
}

/* Nobody wants it for now. Where the watching for room to write would go on, it would tell of nothing else. */
static void leave(neap__http_socket *self) {
  self->is_wanted = false;
  uv_unref((uv_handle_t *)&self->poll);
  if (!(self->events & UV_WRITABLE)) return;
  uv_poll_stop(&self->poll);
  self->events = 0;
}

static void remove_socket(neap__http_client *client, curl_socket_t fd) {
  neap__http_socket *self = socket_of(client, fd);
  if (!self) return;
  if (self->is_foreign)
    drop(client, fd);
  else
    leave(self);
}

int neap__http_on_socket(CURL *curl, curl_socket_t fd, int what, void *data, void *known) {
  neap__http_client *client = data;
  neap__http_socket *self = socket_of(client, fd);
  (void)known;
  if (what == CURL_POLL_REMOVE) {
    remove_socket(client, fd);
    return 0;
  }
  int code = self ? 0 : add_foreign(client, fd, &self);
  if (code) { /* an error here would end all transfers */
    neap__http_easy *easy = NULL;
    curl_easy_getinfo(curl, CURLINFO_PRIVATE, &easy);
    if (easy && easy->transfer) neap__http_transfer_doom(easy->transfer, code, "poll");
    return 0;
  }
  want(self, to_events(what));
  return 0;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static curl_socket_t on_open(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
  neap__http_easy *easy = data;
  neap__http_transfer *transfer = easy->transfer;
  neap__http_socket *socket_record;
  (void)purpose;
  neap__http_transfer_connect(transfer);
  int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) {
    neap__http_transfer_doom(transfer, uv_translate_sys_error(errno), "socket");
    return CURL_SOCKET_BAD;
  }
  int code = add(transfer->client, fd, &socket_record);
  if (!code) return fd;
  neap__http_transfer_doom(transfer, code, "poll");
  close(fd);
  return CURL_SOCKET_BAD;
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
