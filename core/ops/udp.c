#include "udp.h"

#include "dns.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_SIZE = 64 * 1024, MAX_DATAGRAM = BUFFER_SIZE - 1 };

static neap__udp_op *of_op(neap__op *op) {
  return (neap__udp_op *)op;
}

static neap__udp_op *of_first(const neap__list *list) {
  return (neap__udp_op *)neap__op_first(list);
}

/* ---- The socket ---------------------------------------------------------------------------- */

static neap__datagram *take_arrived(neap__udp *self) {
  if (neap__list_is_empty(&self->arrived)) return NULL;
  neap__datagram *datagram = NEAP__CONTAINER(self->arrived.next, neap__datagram, link);
  neap__list_unlink(&datagram->link);
  self->arrived_count--;
  return datagram;
}

void neap__udp_unref(neap__udp *self) {
  if (--self->refs > 0) return;
  neap_loop *loop = self->loop;
  for (neap__datagram *datagram; (datagram = take_arrived(self));)
    neap__memory_free(&loop->memory, datagram);
  neap__memory_free(&loop->memory, self->buffer);
  neap__memory_free(&loop->memory, self);
  neap__loop_unanchor(loop);
}

static void close_resource(neap__resource *resource) {
  neap__udp_close(NEAP__CONTAINER(resource, neap__udp, resource));
}

static void init_lists(neap__udp *self) {
  neap__list_init(&self->resource.link);
  neap__list_init(&self->arrived);
  neap__list_init(&self->senders);
  neap__list_init(&self->lookups);
  neap__list_init(&self->closers);
}

static int new_udp(neap_loop *loop, int family, neap__udp **result) {
  neap__udp *self = neap__memory_new(&loop->memory, sizeof *self);
  if (!self) return UV_ENOMEM;
  int code = uv_udp_init_ex(loop->uv, &self->udp, (unsigned)family);
  if (code) {
    neap__memory_free(&loop->memory, self);
    return code;
  }
  uv_unref((uv_handle_t *)&self->udp);
  init_lists(self);
  self->loop = loop;
  self->refs = 2;
  self->open = 1;
  self->poll_fd = -1;
  self->is_v6 = family == AF_INET6;
  self->resource.close = close_resource;
  neap__list_append(&loop->resources, &self->resource.link);
  neap__loop_anchor(loop);
  *result = self;
  return 0;
}

static void on_closed(uv_handle_t *handle) {
  neap__udp *self = handle->data;
  if (handle == (uv_handle_t *)&self->poll) close(self->poll_fd);
  if (--self->open > 0) return;
  neap__op_end_all(&self->closers, 0);
  neap__udp_unref(self);
}

static void close_handle(neap__udp *self, uv_handle_t *handle) {
  handle->data = self;
  uv_close(handle, on_closed);
}

static void end_receiver(neap__udp *self) {
  self->receiver = NULL;
  uv_unref((uv_handle_t *)&self->udp);
}

static void settle_receiver(neap__udp *self, int code) {
  neap__op *op = self->receiver;
  end_receiver(self);
  neap__op_settle(op, code);
  neap__op_release_native(op);
}

/* Their callbacks come later to orphans. */
static void fail_lookups(neap__udp *self) {
  for (neap__udp_op *op; (op = of_first(&self->lookups));) {
    neap__list_unlink(&op->link.list);
    neap__op_settle(&op->op, NEAP_ECLOSED);
    uv_cancel((uv_req_t *)&op->request);
  }
}

void neap__udp_close(neap__udp *self) {
  if (self->is_closing) return;
  self->is_closing = true;
  neap__list_unlink(&self->resource.link);
  if (self->receiver) settle_receiver(self, of_op(self->receiver)->ends ? 0 : NEAP_ECLOSED);
  neap__op_end_all(&self->senders, NEAP_ECLOSED);
  fail_lookups(self);
  close_handle(self, (uv_handle_t *)&self->udp);
  if (self->poll_fd >= 0) close_handle(self, (uv_handle_t *)&self->poll);
}

/* One that was dropped closes after the last operation on it, which still refers to it. */
static void close_if_unused(neap__udp *self) {
  if (self->is_dropped && !self->receiver && neap__list_is_empty(&self->senders) &&
      neap__list_is_empty(&self->lookups))
    neap__udp_close(self);
}

void neap__udp_drop(neap__udp *self) {
  self->is_dropped = true;
  close_if_unused(self);
  neap__udp_unref(self);
}

/* ---- Operations: what they share ------------------------------------------------------------ */

neap__udp *neap__udp_take(neap__udp_op *self) {
  neap__udp *udp = self->udp;
  self->udp = NULL;
  return udp;
}

static void release(neap__op *op) {
  neap__udp_op *self = of_op(op);
  neap__memory *memory = &op->task.loop->memory;
  neap__udp *udp = neap__udp_take(self);
  bool is_untaken = neap__op_kind_of(op) == &neap__udp_open_kind;
  if (udp && is_untaken) neap__udp_close(udp);
  if (udp) neap__udp_unref(udp);
  neap__memory_free(memory, self->host);
  neap__memory_free(memory, self->label);
  neap__memory_free(memory, self->kept);
  neap__memory_free(memory, self->datagram);
}

static int note_label(neap__udp_op *self) {
  const char *host = self->host ? self->host : "*";
  self->label = neap__sockaddr_label(&self->op.task.loop->memory, host, self->port);
  self->op.error.address = self->label;
  return self->label ? 0 : UV_ENOMEM;
}

/* An IPv6 socket reaches IPv4 peers by mapped addresses. */
static void fit(const neap__udp *udp, neap__sockaddr *address) {
  if (udp->is_v6 && address->any.sa_family == AF_INET) neap__sockaddr_map(address);
}

static int wanted_family(const neap__udp *udp) {
  if (!udp || udp->is_dual) return AF_UNSPEC;
  return udp->is_v6 ? AF_INET6 : AF_INET;
}

/* With the address at hand: goes on with `self`, and settles it or fails with the code. */
static int proceed(neap__udp_op *self);

static int use_found(neap__udp_op *self, const struct addrinfo *list) {
  if (!list || !neap__sockaddr_copy(list->ai_addr, &self->to))
    return neap__lookup_code(&self->op, UV_EAI_NODATA);
  return proceed(self);
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *list) {
  neap__udp_op *self = NEAP__CONTAINER(request, neap__udp_op, request);
  neap__op *op = &self->op;
  neap__list_unlink(&self->link.list);
  neap_task_ref(&op->task);
  neap__op_release_native(op);
  int code = neap__lookup_code(op, status);
  if (!code && !neap__op_is_orphan(op)) code = use_found(self, list);
  if (list) uv_freeaddrinfo(list);
  if (code) neap__op_settle(op, code);
  if (self->udp) close_if_unused(self->udp);
  neap_task_unref(&op->task);
}

static int keep_data(neap__udp_op *self) {
  if (self->kept || !self->data) return 0;
  self->kept = neap__memory_resize(&self->op.task.loop->memory, NULL, self->size + 1);
  if (!self->kept) return UV_ENOMEM;
  memcpy(self->kept, self->data, self->size);
  self->data = self->kept;
  return 0;
}

static int look_up(neap__udp_op *self) {
  int code = keep_data(self), family = wanted_family(self->udp);
  if (!code)
    code = neap__lookup(&self->op, &self->request, self->host, self->port, family, on_found);
  if (code) return code;
  self->link.op = &self->op;
  neap__list_init(&self->link.list);
  if (self->udp) neap__list_append(&self->udp->lookups, &self->link.list);
  return 0;
}

/* A literal needs no lookup: what follows happens on the spot. */
static int start_with_host(neap__udp_op *self) {
  if (self->udp && self->udp->is_closing) return NEAP_ECLOSED;
  int code = note_label(self);
  if (code) return code;
  if (!neap__sockaddr_parse(self->host, self->port, &self->to)) return look_up(self);
  return proceed(self);
}

static void abort_lookup(neap__op *op) {
  uv_cancel((uv_req_t *)&of_op(op)->request);
}

/* ---- Opening ------------------------------------------------------------------------------- */

static int set_flag(const neap__udp *self, int level, int option, int value) {
  uv_os_fd_t fd;
  int code = uv_fileno((const uv_handle_t *)&self->udp, &fd);
  if (code) return code;
  return setsockopt(fd, level, option, &value, sizeof value) ? uv_translate_sys_error(errno) : 0;
}

static int configure(const neap__udp_op *self, neap__udp *udp) {
  int code = 0;
  if (udp->is_dual) code = set_flag(udp, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (!code && self->reuses_port) code = set_flag(udp, SOL_SOCKET, SO_REUSEPORT, 1);
  if (!code && self->has_broadcast) code = uv_udp_set_broadcast(&udp->udp, 1);
  return code;
}

static int prepare_and_bind(neap__udp_op *self, neap__udp *udp) {
  neap__op *op = &self->op;
  int code = configure(self, udp);
  if (code) return neap__op_fail(op, "setsockopt", code);
  unsigned flags = self->reuses_address ? UV_UDP_REUSEADDR : 0;
  if (udp->is_v6 && !udp->is_dual && self->is_ipv6_only) flags |= UV_UDP_IPV6ONLY;
  code = uv_udp_bind(&udp->udp, &self->to.any, flags);
  return code ? neap__op_fail(op, "bind", code) : 0;
}

static int bind_to(neap__udp_op *self, bool is_dual) {
  neap__op *op = &self->op;
  neap__udp *udp;
  int code = new_udp(op->task.loop, self->to.any.sa_family, &udp);
  if (code) return neap__op_fail(op, "socket", code);
  udp->is_dual = is_dual && udp->is_v6;
  code = prepare_and_bind(self, udp);
  if (!code) {
    self->udp = udp;
    neap__op_settle(op, 0);
    return 0;
  }
  neap__udp_close(udp);
  neap__udp_unref(udp);
  return code;
}

/* All addresses of this machine; those of IPv4 where there is no IPv6. */
static int bind_to_all(neap__udp_op *self) {
  neap__sockaddr_parse("::", self->port, &self->to);
  int code = bind_to(self, !self->is_ipv6_only);
  bool has_no_ipv6 = code == UV_EAFNOSUPPORT || code == UV_EADDRNOTAVAIL;
  if (!has_no_ipv6 || self->is_ipv6_only) return code;
  neap__sockaddr_parse("0.0.0.0", self->port, &self->to);
  return bind_to(self, false);
}

static int start_open(neap__op *op) {
  neap__udp_op *self = of_op(op);
  if (self->host) return start_with_host(self);
  int code = note_label(self);
  return code ? code : bind_to_all(self);
}

/* ---- Sending ------------------------------------------------------------------------------- */

/* The socket is tried first. One that is full keeps the datagrams here, where they can be taken back, and
 * not with libuv, which would send them whatever happens. */

static int try_to_send(neap__udp_op *self) {
  neap__udp *udp = self->udp;
  uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)self->data, (unsigned)self->size);
  int n = uv_udp_try_send(&udp->udp, &buffer, 1, self->host ? &self->to.any : NULL);
  if (n == UV_EAGAIN) return UV_EAGAIN;
  return n < 0 ? neap__op_fail(&self->op, "sendmsg", n) : 0;
}

static void on_writable(uv_poll_t *poll, int status, int events);

static int start_polling(neap__udp *self) {
  return uv_poll_start(&self->poll, UV_WRITABLE, on_writable);
}

/* libuv stops to poll where the socket has an error, which the next datagram is told. */
static void on_writable(uv_poll_t *poll, int status, int events) {
  neap__udp *self = NEAP__CONTAINER(poll, neap__udp, poll);
  (void)events;
  int code = 0;
  self->refs++;
  for (neap__udp_op *op; code != UV_EAGAIN && (op = of_first(&self->senders));) {
    code = try_to_send(op);
    if (code != UV_EAGAIN) neap__op_end(&op->link, code);
  }
  if (neap__list_is_empty(&self->senders))
    uv_poll_stop(poll);
  else if (status < 0)
    start_polling(self);
  close_if_unused(self);
  neap__udp_unref(self);
}

static int make_poll(neap__udp *self) {
  uv_os_fd_t fd;
  if (self->poll_fd >= 0) return 0;
  int code = uv_fileno((uv_handle_t *)&self->udp, &fd);
  if (code) return code;
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return uv_translate_sys_error(errno);
  code = uv_poll_init(self->loop->uv, &self->poll, copy);
  if (code) {
    close(copy);
    return code;
  }
  self->poll_fd = copy;
  self->open++;
  return 0;
}

static int wait_for_room(neap__udp_op *self) {
  neap__udp *udp = self->udp;
  int code = keep_data(self);
  if (!code) code = make_poll(udp);
  if (!code) code = start_polling(udp);
  if (code) return neap__op_fail(&self->op, "sendmsg", code);
  neap__op_enter(&self->op, &self->link, &udp->senders);
  return 0;
}

static int send_now(neap__udp_op *self) {
  neap__udp *udp = self->udp;
  if (self->size > MAX_DATAGRAM) return neap__op_fail(&self->op, "sendmsg", UV_EMSGSIZE);
  if (self->host) fit(udp, &self->to);
  int code = neap__list_is_empty(&udp->senders) ? try_to_send(self) : UV_EAGAIN;
  if (code == UV_EAGAIN) return wait_for_room(self);
  if (!code) neap__op_settle(&self->op, 0);
  return code;
}

static int start_send(neap__op *op) {
  neap__udp_op *self = of_op(op);
  if (self->host) return start_with_host(self);
  return self->udp->is_closing ? NEAP_ECLOSED : send_now(self);
}

/* What waits for room has not been sent. */
static void abort_send(neap__op *op) {
  neap__udp_op *self = of_op(op);
  if (op->is_job) {
    abort_lookup(op);
    return;
  }
  neap__udp *udp = self->udp;
  neap__list_unlink(&self->link.list);
  if (neap__list_is_empty(&udp->senders)) uv_poll_stop(&udp->poll);
  close_if_unused(udp);
  neap__op_release_native(op);
}

/* ---- Connecting ---------------------------------------------------------------------------- */

static int connect_now(neap__udp_op *self) {
  fit(self->udp, &self->to);
  int code = uv_udp_connect(&self->udp->udp, &self->to.any);
  if (code) return neap__op_fail(&self->op, "connect", code);
  neap__op_settle(&self->op, 0);
  return 0;
}

static int start_connect(neap__op *op) {
  return start_with_host(of_op(op));
}

static int proceed(neap__udp_op *self) {
  const neap__op_kind *kind = neap__op_kind_of(&self->op);
  if (kind == &neap__udp_send_kind) return send_now(self);
  if (kind == &neap__udp_connect_kind) return connect_now(self);
  return bind_to(self, strcmp(self->host, "::") == 0 && !self->is_ipv6_only);
}

/* ---- Receiving ----------------------------------------------------------------------------- */

static void stop_receiving(neap__udp *self) {
  if (self->is_receiving) uv_udp_recv_stop(&self->udp);
  self->is_receiving = false;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  neap__udp *self = NEAP__CONTAINER(handle, neap__udp, udp);
  (void)suggested;
  if (!self->buffer) self->buffer = neap__memory_resize(&self->loop->memory, NULL, BUFFER_SIZE);
  *buffer = uv_buf_init(self->buffer, self->buffer ? BUFFER_SIZE : 0);
}

static void receive_error(neap__udp *self, int code) {
  if (code == UV_ENOBUFS) code = UV_ENOMEM; /* on_allocate had none */
  if (self->receiver) {
    settle_receiver(self, neap__op_fail(self->receiver, "recvmsg", code));
    return;
  }
  self->error = code;
  stop_receiving(self);
}

static void keep(neap__udp *self, neap__datagram *datagram) {
  neap__list_append(&self->arrived, &datagram->link);
  if (++self->arrived_count == NEAP__UDP_ARRIVED) stop_receiving(self);
}

static void arrived(neap__udp *self, const char *data, size_t size, const struct sockaddr *from,
                    bool is_partial) {
  neap__datagram *datagram =
      neap__memory_resize(&self->loop->memory, NULL, sizeof *datagram + size + 1);
  if (!datagram) {
    receive_error(self, UV_ENOMEM);
    return;
  }
  neap__list_init(&datagram->link);
  neap__sockaddr_copy(from, &datagram->from);
  neap__sockaddr_unmap(&datagram->from);
  datagram->size = size;
  datagram->is_partial = is_partial;
  memcpy(datagram->data, data, size);
  if (!self->receiver) {
    keep(self, datagram);
    return;
  }
  of_op(self->receiver)->datagram = datagram;
  settle_receiver(self, 0);
}

/* No data and no address: there is nothing more. No data and an address: an empty datagram. */
static void on_received(uv_udp_t *handle, ssize_t n, const uv_buf_t *buffer,
                        const struct sockaddr *from, unsigned flags) {
  neap__udp *self = NEAP__CONTAINER(handle, neap__udp, udp);
  self->refs++;
  if (n < 0)
    receive_error(self, (int)n);
  else if (from)
    arrived(self, buffer->base, (size_t)n, from, (flags & UV_UDP_PARTIAL) != 0);
  close_if_unused(self);
  neap__udp_unref(self);
}

static int start_receiving(neap__udp *self) {
  if (self->is_receiving) return 0;
  int code = uv_udp_recv_start(&self->udp, on_allocate, on_received);
  self->is_receiving = code == 0;
  return code;
}

static int take_error(neap__udp_op *self) {
  int code = self->udp->error;
  self->udp->error = 0;
  return neap__op_fail(&self->op, "recvmsg", code);
}

static int start_receive(neap__op *op) {
  neap__udp_op *self = of_op(op);
  neap__udp *udp = self->udp;
  if (udp->is_closing && !self->ends) return NEAP_ECLOSED;
  if (udp->receiver) return NEAP_EMISUSE;
  self->datagram = take_arrived(udp);
  if (self->datagram || udp->is_closing) {
    neap__op_settle(op, 0);
    return 0;
  }
  if (udp->error) return take_error(self);
  int code = start_receiving(udp);
  if (code) return neap__op_fail(op, "recvmsg", code);
  udp->receiver = op;
  neap__op_acquire_native(op, false);
  uv_ref((uv_handle_t *)&udp->udp);
  return 0;
}

/* What arrives from now on is kept for the next one. */
static void abort_receive(neap__op *op) {
  neap__udp *udp = of_op(op)->udp;
  end_receiver(udp);
  close_if_unused(udp);
  neap__op_release_native(op);
}

/* ---- Closing ------------------------------------------------------------------------------- */

static int start_close(neap__op *op) {
  neap__udp_op *self = of_op(op);
  assert(self->udp->is_closing);
  if (self->udp->open == 0) {
    neap__op_settle(op, 0);
    return 0;
  }
  neap__op_enter(op, &self->link, &self->udp->closers);
  return 0;
}

static void abort_close(neap__op *op) {
  neap__op_leave(&of_op(op)->link);
}

/* ---- What does not wait --------------------------------------------------------------------- */

int neap__udp_address(const neap__udp *self, bool peer, neap__sockaddr *address) {
  struct sockaddr_storage name;
  int length = sizeof name;
  if (self->is_closing) return NEAP_ECLOSED;
  memset(&name, 0, sizeof name);
  int code = peer ? uv_udp_getpeername(&self->udp, (struct sockaddr *)&name, &length)
                  : uv_udp_getsockname(&self->udp, (struct sockaddr *)&name, &length);
  if (code) return code;
  neap__sockaddr_copy((struct sockaddr *)&name, address);
  neap__sockaddr_unmap(address);
  return 0;
}

int neap__udp_disconnect(neap__udp *self) {
  return self->is_closing ? NEAP_ECLOSED : uv_udp_connect(&self->udp, NULL);
}

int neap__udp_membership(neap__udp *self, const char *group, const char *interface,
                         bool is_member) {
  if (self->is_closing) return NEAP_ECLOSED;
  return uv_udp_set_membership(&self->udp, group, interface,
                               is_member ? UV_JOIN_GROUP : UV_LEAVE_GROUP);
}

int neap__udp_multicast_interface(neap__udp *self, const char *interface) {
  return self->is_closing ? NEAP_ECLOSED : uv_udp_set_multicast_interface(&self->udp, interface);
}

/* libuv sets it for the socket's own family. */
static int set_own(neap__udp *self, neap__udp_option option, int value) {
  switch (option) {
  case NEAP__UDP_BROADCAST: return uv_udp_set_broadcast(&self->udp, value);
  case NEAP__UDP_TTL: return uv_udp_set_ttl(&self->udp, value);
  case NEAP__UDP_MULTICAST_TTL: return uv_udp_set_multicast_ttl(&self->udp, value);
  case NEAP__UDP_MULTICAST_LOOP: return uv_udp_set_multicast_loop(&self->udp, value);
  default: return UV_EINVAL;
  }
}

/* On a socket for both families what goes to IPv4 peers has options of its own. */
int neap__udp_set(neap__udp *self, neap__udp_option option, int value) {
  static const int for_ipv4[] = {0, IP_TTL, IP_MULTICAST_TTL, IP_MULTICAST_LOOP};
  if (self->is_closing) return NEAP_ECLOSED;
  int code = set_own(self, option, value);
  if (!code && self->is_dual && for_ipv4[option])
    code = set_flag(self, IPPROTO_IP, for_ipv4[option], value);
  return code;
}

#define UDP_KIND(task_name, start_function, abort_function)                                        \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__udp_op), .start = (start_function),     \
    .abort = (abort_function), .release = release                                                  \
  }

const neap__op_kind neap__udp_open_kind = UDP_KIND("net.udp", start_open, abort_lookup);
const neap__op_kind neap__udp_connect_kind = UDP_KIND("udp:connect", start_connect, abort_lookup);
const neap__op_kind neap__udp_send_kind = UDP_KIND("udp:send", start_send, abort_send);
const neap__op_kind neap__udp_receive_kind = UDP_KIND("udp:recv", start_receive, abort_receive);
const neap__op_kind neap__udp_close_kind = UDP_KIND("udp:close", start_close, abort_close);
