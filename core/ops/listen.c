#include "listen.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static neap__listen *of_listen(neap__op *op) {
  return (neap__listen *)op;
}

static neap__accept *of_accept(neap__op *op) {
  return (neap__accept *)op;
}

static neap__server *of_stream(neap__stream *stream) {
  return NEAP__CONTAINER(stream, neap__server, stream);
}

/* ---- The server ----------------------------------------------------------------------------- */

static neap__accept *first_acceptor(const neap__server *server) {
  const neap__list *list = &server->acceptors;
  return neap__list_is_empty(list) ? NULL : NEAP__CONTAINER(list->next, neap__accept, link);
}

static void end_accept(neap__accept *self, int code) {
  neap__list_unlink(&self->link);
  if (code == NEAP_ECLOSED && self->ends) code = 0;
  neap__op_settle(&self->op, code);
  neap__op_release_native(&self->op);
}

static void on_closing(neap__stream *stream) {
  neap__server *server = of_stream(stream);
  for (neap__accept *self; (self = first_acceptor(server));) end_accept(self, NEAP_ECLOSED);
  if (server->path) unlink(server->path);
}

static void release_server(neap__stream *stream) {
  neap__memory_free(&stream->loop->memory, of_stream(stream)->path);
}

static int new_server(neap__listen *self, uv_handle_type type) {
  neap__stream *stream;
  int code = neap__stream_new(self->op.task.loop, type, -1, sizeof(neap__server), &stream);
  if (code) return code;
  self->server = of_stream(stream);
  neap__list_init(&self->server->acceptors);
  stream->closing = on_closing;
  stream->release = release_server;
  return 0;
}

neap__server *neap__listen_take(neap__listen *self) {
  neap__server *server = self->server;
  self->server = NULL;
  return server;
}

static void discard_server(neap__listen *self) {
  neap__server *server = neap__listen_take(self);
  if (!server) return;
  neap__stream_close(&server->stream);
  neap__stream_unref(&server->stream);
}

static void serve_acceptors(neap__server *server);

static void on_connection(uv_stream_t *handle, int status) {
  neap__server *server = of_stream(handle->data);
  if (status < 0)
    server->accept_code = status;
  else
    server->connections++;
  serve_acceptors(server);
}

/* ---- Listening over TCP ---------------------------------------------------------------------- */

static int set_option(neap__listen *self, int option) {
  int on = 1;
  uv_os_fd_t fd;
  int code = uv_fileno(&self->server->stream.uv.handle, &fd);
  if (code) return code;
  return setsockopt(fd, SOL_SOCKET, option, &on, sizeof on) ? uv_translate_sys_error(errno) : 0;
}

/* The socket is made by hand, since libuv makes it no sooner than it binds it. */
static int make_socket(neap__listen *self, int family) {
  int code = new_server(self, UV_TCP);
  if (code || !self->reuses_port) return code;
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return uv_translate_sys_error(errno);
  code = uv_tcp_open(&self->server->stream.uv.tcp, fd);
  if (code)
    close(fd);
  else
    code = set_option(self, SO_REUSEPORT);
  return code;
}

static int listen_at(neap__listen *self, const struct sockaddr *name) {
  neap__op *op = &self->op;
  int code = make_socket(self, name->sa_family);
  if (code) return neap__op_fail(op, "socket", code);
  unsigned flags = self->is_ipv6_only && name->sa_family == AF_INET6 ? UV_TCP_IPV6ONLY : 0;
  code = uv_tcp_bind(&self->server->stream.uv.tcp, name, flags);
  if (code) return neap__op_fail(op, "bind", code);
  code = uv_listen(&self->server->stream.uv.stream, self->backlog, on_connection);
  return code ? neap__op_fail(op, "listen", code) : 0;
}

static bool is_any_host(const neap__listen *self) {
  return strcmp(self->endpoint.host, "*") == 0;
}

/* Both families on one socket; IPv4 alone where the system has no IPv6. */
static int listen_everywhere(neap__listen *self) {
  struct sockaddr_storage name;
  uv_ip6_addr("::", self->endpoint.port, (struct sockaddr_in6 *)&name);
  int code = listen_at(self, (struct sockaddr *)&name);
  if (code != UV_EAFNOSUPPORT && code != UV_EADDRNOTAVAIL) return code;
  discard_server(self);
  uv_ip4_addr("0.0.0.0", self->endpoint.port, (struct sockaddr_in *)&name);
  return listen_at(self, (struct sockaddr *)&name);
}

/* ---- Listening at a path --------------------------------------------------------------------- */

/* Whether the file is a socket to which nobody answers any more. */
static bool is_stale(const struct sockaddr_un *name, socklen_t length) {
  struct stat info;
  if (lstat(name->sun_path, &info) || !S_ISSOCK(info.st_mode)) return false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  int code = connect(fd, (const struct sockaddr *)name, length) ? errno : 0;
  close(fd);
  return code == ECONNREFUSED;
}

static int bind_path(neap__listen *self, int fd, const struct sockaddr_un *name, socklen_t length) {
  const struct sockaddr *address = (const struct sockaddr *)name;
  int code = bind(fd, address, length) ? errno : 0;
  if (code == EADDRINUSE && self->replaces && name->sun_path[0] && is_stale(name, length)) {
    unlink(name->sun_path);
    code = bind(fd, address, length) ? errno : 0;
  }
  return code ? neap__op_fail(&self->op, "bind", uv_translate_sys_error(code)) : 0;
}

/* The socket file is the server's from here on: it goes with it. */
static int own_path(neap__listen *self, const struct sockaddr_un *name) {
  if (!name->sun_path[0]) return 0;
  neap__memory *memory = &self->op.task.loop->memory;
  self->server->path = neap__memory_copy(memory, name->sun_path);
  if (!self->server->path) {
    unlink(name->sun_path);
    return UV_ENOMEM;
  }
  if (self->mode < 0 || chmod(name->sun_path, (mode_t)self->mode) == 0) return 0;
  return neap__op_fail(&self->op, "chmod", uv_translate_sys_error(errno));
}

static int listen_at_path(neap__listen *self) {
  struct sockaddr_un name;
  socklen_t length;
  int code = neap__endpoint_path(&self->endpoint, &name, &length);
  if (code) return neap__op_fail(&self->op, "bind", code);
  code = new_server(self, UV_NAMED_PIPE);
  if (code) return code;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return neap__op_fail(&self->op, "socket", uv_translate_sys_error(errno));
  code = bind_path(self, fd, &name, length);
  if (!code) code = own_path(self, &name);
  if (!code) code = uv_pipe_open(&self->server->stream.uv.pipe, fd);
  if (code) {
    close(fd);
    return code;
  }
  code = uv_listen(&self->server->stream.uv.stream, self->backlog, on_connection);
  return code ? neap__op_fail(&self->op, "listen", code) : 0;
}

/* ---- Life of a listen ------------------------------------------------------------------------ */

static int settle_listen(neap__listen *self, int code) {
  if (code) discard_server(self);
  neap__op_settle(&self->op, code);
  return 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
  neap__listen *self = NEAP__CONTAINER(request, neap__listen, resolve);
  if (status)
    neap__op_settle(&self->op, neap__op_fail(&self->op, "getaddrinfo", status));
  else if (!neap__op_is_orphan(&self->op))
    settle_listen(self, listen_at(self, addresses->ai_addr));
  uv_freeaddrinfo(addresses);
  neap__op_release_native(&self->op);
}

static int start_listen(neap__op *op) {
  neap__listen *self = of_listen(op);
  struct sockaddr_storage name;
  int code = neap__endpoint_label(&self->endpoint, op);
  if (code) return code;
  if (self->endpoint.path) return settle_listen(self, listen_at_path(self));
  if (is_any_host(self)) return settle_listen(self, listen_everywhere(self));
  if (neap__endpoint_parse(&self->endpoint, &name))
    return settle_listen(self, listen_at(self, (struct sockaddr *)&name));
  code = neap__endpoint_resolve(&self->endpoint, op->task.loop, &self->resolve, on_resolved);
  if (code) return neap__op_fail(op, "getaddrinfo", code);
  neap__op_acquire_native(op, true);
  return 0;
}

static void abort_listen(neap__op *op) {
  uv_cancel((uv_req_t *)&of_listen(op)->resolve);
}

static void release_listen(neap__op *op) {
  discard_server(of_listen(op));
  neap__endpoint_deinit(&of_listen(op)->endpoint, op->task.loop);
}

const neap__op_kind neap__listen_kind = {.task = NEAP__OP_TASK("net.listen"),
                                         .size = sizeof(neap__listen),
                                         .start = start_listen,
                                         .abort = abort_listen,
                                         .release = release_listen};

/* ---- Accepting ----------------------------------------------------------------------------- */

neap__stream *neap__accept_take(neap__accept *self) {
  neap__stream *stream = self->stream;
  self->stream = NULL;
  return stream;
}

static void discard_stream(neap__accept *self) {
  neap__stream *stream = neap__accept_take(self);
  if (!stream) return;
  neap__stream_close(stream);
  neap__stream_unref(stream);
}

static int accept_one(neap__accept *self) {
  neap__stream *server = &self->server->stream;
  uv_handle_type type = server->uv.handle.type;
  int code = neap__stream_new(self->op.task.loop, type, -1, sizeof(neap__stream), &self->stream);
  if (code) return code;
  code = uv_accept(&server->uv.stream, &self->stream->uv.stream);
  if (code) {
    discard_stream(self);
    return neap__op_fail(&self->op, "accept", code);
  }
  if (type == UV_TCP) uv_tcp_nodelay(&self->stream->uv.tcp, 1); /* as at the end that connects */
  return 0;
}

static int take_accept_code(neap__server *server) {
  int code = server->accept_code;
  server->accept_code = 0;
  return code;
}

static void serve_acceptors(neap__server *server) {
  neap__accept *self;
  while ((server->connections > 0 || server->accept_code) && (self = first_acceptor(server))) {
    int code = take_accept_code(server);
    if (code)
      neap__op_fail(&self->op, "accept", code);
    else if (!(code = accept_one(self)) || code != UV_ENOMEM)
      server->connections--;
    end_accept(self, code);
  }
}

static int start_accept(neap__op *op) {
  neap__accept *self = of_accept(op);
  if (self->server->stream.is_closing && !self->ends) return NEAP_ECLOSED;
  if (self->server->stream.is_closing) {
    neap__op_settle(op, 0);
    return 0;
  }
  neap__list_append(&self->server->acceptors, &self->link);
  neap__op_acquire_native(op, false);
  serve_acceptors(self->server);
  return 0;
}

static void abort_accept(neap__op *op) {
  neap__list_unlink(&of_accept(op)->link);
  neap__op_release_native(op);
}

static void release_accept(neap__op *op) {
  neap__accept *self = of_accept(op);
  discard_stream(self);
  if (self->server) neap__stream_unref(&self->server->stream);
}

const neap__op_kind neap__accept_kind = {.task = NEAP__OP_TASK("accept"),
                                         .size = sizeof(neap__accept),
                                         .start = start_accept,
                                         .abort = abort_accept,
                                         .release = release_accept};
