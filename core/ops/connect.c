#include "connect.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Seconds. */
static const double attempt_delay = 0.25; /* RFC 8305, section 5 */
static const double retry_delay = 0.01;   /* a Unix socket whose backlog is full tells no more */

/* One address that is tried. It outlives the operation until libuv has let go of it. */
struct neap__attempt {
  neap__stream stream;
  uv_connect_t request;
  neap__attempt *next;
  neap__connect *owner; /* NULL: nobody waits for it any more */
};

static neap__connect *of_op(neap__op *op) {
  return (neap__connect *)op;
}

neap__stream *neap__connect_take(neap__connect *self) {
  neap__stream *stream = self->stream;
  self->stream = NULL;
  return stream;
}

static void discard(neap__stream *stream) {
  neap__stream_close(stream);
  neap__stream_unref(stream);
}

/* ---- The end -------------------------------------------------------------------------------- */

/* Closing the socket ends the attempt: its callback comes with ECANCELED. */
static void give_up_attempts(neap__connect *self) {
  while (self->attempts) {
    neap__attempt *attempt = self->attempts;
    self->attempts = attempt->next;
    attempt->owner = NULL;
    neap__stream_close(&attempt->stream);
  }
}

static void stop(neap__connect *self) {
  neap__timer_disarm(&self->op.task.loop->timers, &self->timer);
  give_up_attempts(self);
}

/* There is a connection: its filter begins. Positive: the operation waits for that. */
static int begin_filter(neap__connect *self) {
  if (!self->maker) return 0;
  if (!self->op.is_native) neap__op_acquire_native(&self->op, false);
  int code = self->maker->attach(self->maker, self->stream);
  if (!code) code = neap__filter_wait(self->stream->filter, &self->op, &self->link);
  if (code > 0) self->stream->filter->is_private = true;
  if (code < 0) neap__stream_close(self->stream);
  return code;
}

static void finish(neap__connect *self, int code) {
  stop(self);
  if (code) neap__op_fail(&self->op, "connect", code);
  if (!code) code = begin_filter(self);
  if (code > 0) return;
  neap__op_settle(&self->op, code);
  if (self->op.is_native) neap__op_release_native(&self->op);
}

static int arm(neap__connect *self, double delay) {
  neap_loop *loop = self->op.task.loop;
  return neap__loop_arm(loop, &self->timer, neap__loop_now(loop) + delay);
}

/* ---- Addresses, one after the other --------------------------------------------------------- */

static void unlink_attempt(neap__connect *self, const neap__attempt *attempt) {
  neap__attempt **link = &self->attempts;
  while (*link != attempt) link = &(*link)->next;
  *link = attempt->next;
}

static void on_connected(uv_connect_t *request, int status);

static int bind_attempt(neap__attempt *attempt, int family) {
  const neap__connect *self = attempt->owner;
  neap__sockaddr local = self->local;
  bool is_any = local.any.sa_family == AF_UNSPEC;
  if (is_any && self->local_port == 0) return 0;
  if (is_any) neap__sockaddr_parse(family == AF_INET6 ? "::" : "0.0.0.0", self->local_port, &local);
  return uv_tcp_bind(&attempt->stream.uv.tcp, &local.any, 0);
}

static int begin_attempt(neap__attempt *attempt, const struct sockaddr *name) {
  int code = bind_attempt(attempt, name->sa_family);
  if (code) return code;
  return uv_tcp_connect(&attempt->request, &attempt->stream.uv.tcp, name, on_connected);
}

static int try_address(neap__connect *self, const struct sockaddr *name) {
  neap__stream *stream;
  int code = neap__stream_new(self->op.task.loop, UV_TCP, -1, sizeof(neap__attempt), &stream);
  if (code) return code;
  neap__attempt *attempt = (neap__attempt *)stream;
  attempt->owner = self;
  code = begin_attempt(attempt, name);
  if (code) {
    discard(stream);
    return code;
  }
  attempt->next = self->attempts;
  self->attempts = attempt;
  return 0;
}

/* The next address that can be tried at all. 0: an attempt is under way. */
static int try_next(neap__connect *self) {
  bool is_begun = false;
  while (!is_begun && self->next < self->queued) {
    int code = try_address(self, &self->queue[self->next++].any);
    is_begun = code == 0;
    if (code) self->code = code;
  }
  if (is_begun && self->next < self->queued) {
    int code = arm(self, attempt_delay);
    if (code) self->next = self->queued; /* no memory for a timer: this one has to do */
  }
  return self->attempts ? 0 : self->code;
}

static void set_options(const neap__connect *self) {
  uv_tcp_t *tcp = &self->stream->uv.tcp;
  if (!self->has_nagle) uv_tcp_nodelay(tcp, 1);
  if (self->keepalive) uv_tcp_keepalive(tcp, 1, self->keepalive);
}

static void on_connected(uv_connect_t *request, int status) {
  neap__attempt *attempt = NEAP__CONTAINER(request, neap__attempt, request);
  neap__connect *self = attempt->owner;
  if (self) unlink_attempt(self, attempt);
  if (self && !status) {
    self->stream = &attempt->stream;
    set_options(self);
    finish(self, 0);
    return;
  }
  discard(&attempt->stream);
  if (!self) return;
  self->code = status;
  neap__timer_disarm(&self->op.task.loop->timers, &self->timer);
  int code = try_next(self);
  if (code) finish(self, code);
}

/* ---- A Unix socket -------------------------------------------------------------------------- */

static int open_pipe(neap__connect *self, int fd) {
  neap_loop *loop = self->op.task.loop;
  int code = neap__stream_new(loop, UV_NAMED_PIPE, -1, sizeof(neap__stream), &self->stream);
  if (!code) code = uv_pipe_open(&self->stream->uv.pipe, fd);
  if (code) close(fd);
  return code;
}

/* By hand: libuv cuts off long paths and knows no abstract ones. It answers at once, or with EAGAIN when
 * too many wait to be accepted; then it is tried again. */
static int try_path(neap__connect *self) {
  struct sockaddr_un name;
  socklen_t length;
  int code = neap__endpoint_path(&self->endpoint, &name, &length);
  if (code) return code;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return uv_translate_sys_error(errno);
  do code = connect(fd, (const struct sockaddr *)&name, length) ? errno : 0;
  while (code == EINTR);
  if (code == 0) return open_pipe(self, fd);
  close(fd);
  return uv_translate_sys_error(code);
}

/* Ends it, unless it waits for its next try: true. */
static bool step_path(neap__connect *self) {
  int code = try_path(self);
  if (code == UV_EAGAIN) code = arm(self, retry_delay);
  if (neap__timer_is_armed(&self->timer)) return true;
  finish(self, code);
  return false;
}

/* ---- Life of a connect ----------------------------------------------------------------------- */

static void on_time(neap__timer *timer) {
  neap__connect *self = NEAP__CONTAINER(timer, neap__connect, timer);
  if (self->endpoint.path)
    step_path(self);
  else
    try_next(self);
}

/* The families take turns, beginning with that of the system's first choice. */
static void queue_in_turns(neap__connect *self, const struct addrinfo *found) {
  const struct addrinfo *turn[2] = {found, found};
  int first = found->ai_family;
  for (int side = 0; turn[0] || turn[1]; side = !side) {
    const struct addrinfo *next = turn[side];
    while (next && (next->ai_family == first) != (side == 0)) next = next->ai_next;
    if (next && neap__sockaddr_copy(next->ai_addr, &self->queue[self->queued])) self->queued++;
    turn[side] = next ? next->ai_next : NULL;
  }
}

static int reserve_queue(neap__connect *self, size_t count) {
  neap__memory *memory = &self->op.task.loop->memory;
  self->queue = neap__memory_resize(memory, NULL, count * sizeof *self->queue);
  return self->queue ? 0 : UV_ENOMEM;
}

static int use_found(neap__connect *self, const struct addrinfo *found) {
  size_t count = 0;
  for (const struct addrinfo *item = found; item; item = item->ai_next) count++;
  if (count == 0) return UV_EAI_NODATA;
  int code = reserve_queue(self, count);
  if (code) return code;
  queue_in_turns(self, found);
  return try_next(self);
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
  neap__connect *self = NEAP__CONTAINER(request, neap__connect, resolve);
  neap__op *op = &self->op;
  self->is_resolving = false;
  neap_task_ref(&op->task);
  neap__op_release_native(op);
  if (status) {
    neap__op_settle(op, neap__lookup_code(op, status));
  } else if (!neap__op_is_orphan(op)) {
    int code = use_found(self, found);
    if (code)
      finish(self, code);
    else
      neap__op_acquire_native(op, false);
  }
  if (found) uv_freeaddrinfo(found);
  neap_task_unref(&op->task);
}

static int look_up(neap__connect *self) {
  int code = neap__endpoint_lookup(&self->endpoint, &self->op, &self->resolve, on_found);
  self->is_resolving = code == 0;
  return code;
}

static int connect_to_path(neap__connect *self) {
  if (step_path(self)) neap__op_acquire_native(&self->op, false);
  return 0;
}

static int start(neap__op *op) {
  neap__connect *self = of_op(op);
  self->timer.fire = on_time;
  neap__list_init(&self->link.list);
  int code = neap__endpoint_label(&self->endpoint, op);
  if (code) return code;
  if (self->endpoint.path) return connect_to_path(self);
  neap__sockaddr literal;
  if (!neap__endpoint_parse(&self->endpoint, &literal)) return look_up(self);
  code = reserve_queue(self, 1);
  if (code) return code;
  self->queue[self->queued++] = literal;
  code = try_next(self);
  if (code) return neap__op_fail(op, "connect", code);
  neap__op_acquire_native(op, false);
  return 0;
}

static void abort_connect(neap__op *op) {
  neap__connect *self = of_op(op);
  if (self->is_resolving) {
    uv_cancel((uv_req_t *)&self->resolve);
    return;
  }
  stop(self);
  neap__list_unlink(&self->link.list);
  if (self->stream) neap__stream_close(self->stream);
  neap__op_release_native(op);
}

static void release(neap__op *op) {
  neap__connect *self = of_op(op);
  neap__stream *stream = neap__connect_take(self);
  if (stream) discard(stream);
  if (self->maker) self->maker->unref(self->maker);
  neap__memory_free(&op->task.loop->memory, self->queue);
  neap__endpoint_deinit(&self->endpoint, op->task.loop);
}

const neap__op_kind neap__connect_kind = {.task = NEAP__OP_TASK("net.connect"),
                                          .size = sizeof(neap__connect),
                                          .start = start,
                                          .abort = abort_connect,
                                          .release = release};
