#include "stream.h"

#include "filter.h"
#include "sockaddr.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

enum {
  WRITE_CHUNK = 64 * 1024 /* what cannot be taken back when a write is cancelled */
};

static neap__write *of_write(neap__op *op) {
  return (neap__write *)op;
}

static neap__stream *ref(neap__stream *stream) {
  stream->refs++;
  return stream;
}

/* ---- Reading: the source of the reader ------------------------------------------------------- */

static neap__stream *of_reader(neap__reader *reader) {
  return NEAP__CONTAINER(reader, neap__stream, reader);
}

/* libuv reads a socket until it is empty, which is more than the read that was just served had asked for.
 * Its task is about to run, and will most likely read again: until then the rest stays where it is, once.
 * Otherwise reading would stop and start again, a call of epoll_ctl or two for each 64 KiB. */
bool neap__stream_skips(neap__stream *stream) {
  stream->skips = !stream->reader.waiting && stream->was_served;
  stream->was_served = false;
  return stream->skips;
}

/* libuv fills the memory and hands it to on_read before anything else happens, so one block for each
 * loop serves all its streams. */
static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  neap__stream *stream = handle->data;
  neap__reader *reader = &stream->reader;
  (void)suggested;
  *buffer = uv_buf_init(NULL, 0);
  if (neap__stream_skips(stream)) return;
  bool needs_block = neap__reader_needs_block(reader);
  char *block = needs_block ? neap__block_take(stream->loop) : NULL;
  if (needs_block && !block) return;
  size_t size = 0;
  buffer->base = neap__reader_space(reader, block, &size);
  if (buffer->base) buffer->len = size;
}

void neap__stream_rest(neap__stream *stream) {
  if (!stream->is_reading) return;
  uv_read_stop(&stream->uv.stream);
  stream->is_reading = false;
}

/* A filter decides by itself, when it has used up its input. */
static void stop_reading(neap__reader *reader) {
  neap__stream *stream = of_reader(reader);
  if (!stream->filter) neap__stream_rest(stream);
}

static void end_reading(neap__stream *stream, int code) {
  neap__stream_rest(stream);
  if (code == UV_ENOBUFS) /* on_allocate had no memory; the next read tries again */
    neap__reader_failed(&stream->reader, "read", UV_ENOMEM);
  else
    neap__reader_ended(&stream->reader, "read",
                       code == UV_EIO && stream->uv.handle.type == UV_TTY
                           ? UV_EOF /* the terminal has gone */
                           : code);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buffer) {
  neap__stream *stream = handle->data;
  neap_loop *loop = stream->loop;
  bool is_block = buffer->base && neap__reader_needs_block(&stream->reader);
  bool is_kept = false;
  if (n == UV_ENOBUFS && stream->skips) return;
  if (n > 0) {
    stream->was_served = stream->reader.waiting != NULL;
    is_kept = neap__reader_arrived(&stream->reader, buffer->base, (size_t)n, NEAP__BLOCK_SIZE);
  }
  if (is_block && !is_kept) neap__block_give(loop, buffer->base, NEAP__BLOCK_SIZE);
  if (n < 0) end_reading(stream, (int)n);
}

int neap__stream_listen(neap__stream *stream, uv_alloc_cb allocate, uv_read_cb read) {
  if (stream->is_reading) return 0;
  int code = uv_read_start(&stream->uv.stream, allocate, read);
  stream->is_reading = code == 0;
  return code;
}

static int pull(neap__reader *reader, size_t wanted, const char **syscall) {
  neap__stream *stream = of_reader(reader);
  (void)wanted;
  if (stream->filter) return neap__filter_pull(stream->filter, syscall);
  *syscall = "read";
  return neap__stream_listen(stream, on_allocate, on_read);
}

static void unref_reader(neap__reader *reader) {
  neap__stream_unref(of_reader(reader));
}

static void explain(const neap__reader *reader, neap_error *error) {
  const neap__stream *stream = NEAP__CONTAINER((uintptr_t)reader, const neap__stream, reader);
  if (stream->filter) neap__filter_explain(stream->filter, error);
}

static const neap__source source = {pull, stop_reading, unref_reader, explain};

/* ---- The stream itself ---------------------------------------------------------------------- */

static void close_resource(neap__resource *resource) {
  neap__stream *stream = NEAP__CONTAINER(resource, neap__stream, resource);
  if (stream->is_closing) neap__filter_hurry(stream->filter);
  neap__stream_close(stream);
}

/* Writing to a socket whose peer has gone would kill the process. The error of the write says it all,
 * so the signal is ignored, unless the program has its own handler for it. libuv asks its users to do
 * this; it does not do it itself. */
static void ignore_broken_pipes(void) {
  struct sigaction action;
  if (sigaction(SIGPIPE, NULL, &action) || action.sa_handler != SIG_DFL) return;
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
}

static int init_handle(neap__stream *stream, uv_handle_type type, int fd) {
  switch (type) {
  case UV_TCP: return uv_tcp_init(stream->loop->uv, &stream->uv.tcp);
  case UV_NAMED_PIPE: return uv_pipe_init(stream->loop->uv, &stream->uv.pipe, 0);
  case UV_TTY: return uv_tty_init(stream->loop->uv, &stream->uv.tty, fd, 0);
  case UV_POLL: return uv_poll_init(stream->loop->uv, &stream->uv.poll, fd);
  default: return UV_EINVAL;
  }
}

int neap__stream_init(neap__stream *stream, neap_loop *loop, uv_handle_type type, int fd) {
  ignore_broken_pipes();
  stream->loop = loop;
  int code = init_handle(stream, type, fd);
  if (code) return code;
  stream->uv.handle.data = stream;
  stream->refs = 2;
  stream->resource.close = close_resource;
  neap__list_init(&stream->resource.link);
  neap__list_append(&loop->resources, &stream->resource.link);
  neap__reader_init(&stream->reader, loop, &source);
  neap__list_init(&stream->writers);
  neap__list_init(&stream->closers);
  neap__loop_anchor(loop);
  return 0;
}

int neap__stream_new(neap_loop *loop, uv_handle_type type, int fd, size_t size,
                     neap__stream **result) {
  *result = neap__memory_new(&loop->memory, size);
  if (!*result) return UV_ENOMEM;
  int code = neap__stream_init(*result, loop, type, fd);
  if (!code) return 0;
  neap__memory_free(&loop->memory, *result);
  *result = NULL;
  return code;
}

static neap__write *first_writer(const neap__stream *stream) {
  return (neap__write *)neap__op_first(&stream->writers);
}

/* The last reference but libuv's was that of an operation: now nobody can use it any more. A cancelled
 * write, whose chunk the peer may never take, does not keep it. */
static bool is_abandoned(const neap__stream *stream) {
  const neap__write *first = first_writer(stream);
  uint32_t needless = first && neap__op_is_orphan(&first->op) ? 2 : 1;
  return stream->is_dropped && stream->refs == needless && !stream->is_closing;
}

void neap__stream_drop(neap__stream *stream) {
  stream->is_dropped = true;
  neap__stream_unref(stream);
}

void neap__stream_unref(neap__stream *stream) {
  stream->refs--;
  if (is_abandoned(stream)) neap__stream_close(stream);
  if (stream->refs > 0) return;
  neap_loop *loop = stream->loop;
  if (stream->release) stream->release(stream);
  if (stream->filter) neap__filter_free(stream->filter);
  if (stream->reader.buffer) neap__reader_clear(&stream->reader);
  neap__memory_free(&loop->memory, stream);
  neap__loop_unanchor(loop);
}

static void on_closed(uv_handle_t *handle) {
  neap__stream *stream = handle->data;
  stream->is_closed = true;
  neap__op_end_all(&stream->closers, 0);
  neap__stream_unref(stream);
}

/* Its chunk was given to libuv, and nobody knows what has become of it. */
static void forget_chunk(neap__write *self) {
  self->sent -= self->chunk;
  self->chunk = 0;
}

/* The writer whose request libuv holds gets its callback (ECANCELED) before on_closed. */
static void fail_writers(neap__stream *stream) {
  if (first_writer(stream)) forget_chunk(first_writer(stream));
  neap__op_end_all(&stream->writers, NEAP_ECLOSED);
}

/* What both ways to close begin with; the caller closes the handle and drops the reference. True: not now,
 * the filter does. */
static bool begin_close(neap__stream *stream, bool is_orderly) {
  ref(stream);
  stream->is_closing = true;
  bool is_lingering = stream->filter && neap__filter_close(stream->filter, is_orderly);
  if (is_lingering)
    neap__stream_rest(stream);
  else
    neap__list_unlink(&stream->resource.link);
  neap__reader_close(&stream->reader);
  fail_writers(stream);
  if (stream->closing) stream->closing(stream);
  return is_lingering;
}

void neap__stream_finish(neap__stream *stream) {
  neap__list_unlink(&stream->resource.link);
  uv_close(&stream->uv.handle, on_closed);
}

void neap__stream_close(neap__stream *stream) {
  if (stream->is_closing) return;
  if (!begin_close(stream, true)) neap__stream_finish(stream);
  neap__stream_unref(stream);
}

int neap__stream_reset(neap__stream *stream) {
  if (stream->is_closing) return NEAP_ECLOSED;
  if (stream->uv.handle.type != UV_TCP) return UV_ENOTSUP;
  begin_close(stream, false);
  if (uv_tcp_close_reset(&stream->uv.tcp, on_closed)) /* it is being shut down */
    uv_close(&stream->uv.handle, on_closed);
  neap__stream_unref(stream);
  return 0;
}

/* ---- Addresses ----------------------------------------------------------------------------- */

static void read_path(const struct sockaddr_un *name, size_t length, neap__address *address) {
  const size_t header = offsetof(struct sockaddr_un, sun_path);
  size_t size = length > header ? length - header : 0;
  if (size > sizeof name->sun_path) size = sizeof name->sun_path;
  memcpy(address->host, name->sun_path, size);
  address->host[size] = '\0';
  if (size > 1 && address->host[0] == '\0') address->host[0] = '@';
  address->port = -1;
}

int neap__address_read(const struct sockaddr *name, size_t length, neap__address *address) {
  neap__sockaddr ip;
  if (name->sa_family == AF_UNIX) {
    read_path((const void *)name, length, address);
    return 0;
  }
  if (!neap__sockaddr_copy(name, &ip)) return UV_EAFNOSUPPORT;
  neap__sockaddr_host(&ip, address->host);
  address->port = neap__sockaddr_port(&ip);
  return 0;
}

/* Asked of the system: uv_pipe_getsockname says nothing of abstract names. */
int neap__stream_address(const neap__stream *stream, bool peer, neap__address *address) {
  struct sockaddr_storage name;
  socklen_t length = sizeof name;
  uv_os_fd_t fd;
  if (stream->is_closing) return NEAP_ECLOSED;
  memset(&name, 0, sizeof name);
  int code = uv_fileno(&stream->uv.handle, &fd);
  if (code) return code;
  struct sockaddr *out = (struct sockaddr *)&name;
  if (peer ? getpeername(fd, out, &length) : getsockname(fd, out, &length))
    return uv_translate_sys_error(errno);
  return neap__address_read(out, length, address);
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* The socket is tried first, with the caller's own bytes; what it does not take is copied and goes to
 * libuv chunk by chunk, so that a cancelled write can tell how much was written and leave the rest
 * unsent. */

bool neap__write_reserve(neap__write *self, unsigned count) {
  neap__memory *memory = &self->op.task.loop->memory;
  self->buffers = self->few;
  if (count > NEAP__FEW_BUFFERS)
    self->buffers = neap__memory_resize(memory, NULL, count * sizeof *self->buffers);
  return self->buffers != NULL;
}

int neap__stream_try_write(neap__stream *stream, const uv_buf_t *buffers, unsigned count) {
  if (stream->is_closing) return NEAP_ECLOSED;
  if (stream->filter || !neap__list_is_empty(&stream->writers)) return UV_EAGAIN;
  return uv_try_write(&stream->uv.stream, buffers, count);
}

void neap__write_took(neap__write *self, size_t n) {
  unsigned gone = 0;
  self->sent += n;
  while (gone < self->count && n >= self->buffers[gone].len) n -= self->buffers[gone++].len;
  self->count -= gone;
  if (self->count == 0) return;
  if (gone) memmove(self->buffers, self->buffers + gone, self->count * sizeof *self->buffers);
  self->buffers->base += n;
  self->buffers->len -= n;
}

static int try_to_send(neap__write *self) {
  if (self->stream->filter) return neap__filter_send(self);
  while (self->sent < self->size) {
    int n = uv_try_write(&self->stream->uv.stream, self->buffers, self->count);
    if (n == UV_EAGAIN) return 0;
    if (n < 0) return neap__op_fail(&self->op, "write", n);
    neap__write_took(self, (size_t)n);
  }
  return 0;
}

/* The bytes that are left become our own: the caller's go when start has returned. */
static int keep_rest(neap__write *self) {
  size_t rest = self->size - self->sent, place = 0;
  if (rest == 0) return 0;
  self->kept = neap__memory_resize(&self->op.task.loop->memory, NULL, rest);
  if (!self->kept) return UV_ENOMEM;
  for (unsigned i = 0; i < self->count; place += self->buffers[i++].len)
    memcpy(self->kept + place, self->buffers[i].base, self->buffers[i].len);
  self->kept_size = rest;
  self->buffers->base = self->kept;
  self->buffers->len = rest;
  self->count = 1;
  return 0;
}

static void on_written(uv_write_t *request, int status) {
  neap__write *self = NEAP__CONTAINER(request, neap__write, request.write);
  neap__stream *stream = self->stream;
  if (stream->is_closing) {
    /* Settled when the stream was closed; libuv's own reference ends here. */
    neap_task_unref(&self->op.task);
    return;
  }
  if (status) forget_chunk(self);
  self->chunk = 0;
  bool is_over = status || self->sent == self->size || neap__op_is_orphan(&self->op);
  ref(stream);
  neap_task_unref(&self->op.task);
  if (is_over) neap__op_end(&self->link, status ? neap__op_fail(&self->op, "write", status) : 0);
  neap__stream_pump(stream);
  neap__stream_unref(stream);
}

/* A filter has what it could take, and goes on by itself. */
static int send_chunk(neap__write *self) {
  if (self->stream->filter) return 0;
  size_t rest = self->size - self->sent;
  size_t size = rest < WRITE_CHUNK ? rest : WRITE_CHUNK;
  uv_buf_t buffer = uv_buf_init(self->kept + (self->kept_size - rest), (unsigned)size);
  int code = uv_write(&self->request.write, &self->stream->uv.stream, &buffer, 1, on_written);
  if (code) return neap__op_fail(&self->op, "write", code);
  neap__write_took(self, size);
  self->chunk = size;
  neap_task_ref(&self->op.task); /* libuv's, besides the one of the list */
  return 0;
}

static void on_shut_down(uv_shutdown_t *request, int status) {
  neap__write *self = NEAP__CONTAINER(request, neap__write, request.shutdown);
  neap__stream *stream = ref(self->stream);
  neap_task_unref(&self->op.task);
  bool is_pipe = status == UV_ENOTSOCK && stream->uv.handle.type == UV_NAMED_PIPE;
  if (is_pipe) status = 0;
  if (!stream->is_closing) {
    stream->is_shut = status == 0;
    neap__op_end(&self->link, status ? neap__op_fail(&self->op, "shutdown", status) : 0);
    neap__stream_pump(stream);
    if (is_pipe) neap__stream_close(stream); /* it has no other direction */
  }
  neap__stream_unref(stream);
}

static int send_shutdown(neap__write *self) {
  uv_shutdown_t *request = &self->request.shutdown;
  int code = 0;
  if (self->stream->filter && !neap__filter_shut(self->stream->filter, &code))
    return code ? neap__op_fail(&self->op, "shutdown", code) : 0;
  code = uv_shutdown(request, &self->stream->uv.stream, on_shut_down);
  if (code) return neap__op_fail(&self->op, "shutdown", code);
  self->is_shutting = true;
  neap_task_ref(&self->op.task);
  return 0;
}

static bool is_shutdown(const neap__write *self) {
  return neap__op_kind_of(&self->op) == &neap__shutdown_kind;
}

/* All of it is with the socket. */
static bool has_gone(const neap__write *self) {
  return self->sent == self->size && self->chunk == 0;
}

/* libuv has its request already: who heard of the end of the one before has started it. */
static bool has_request(const neap__write *self) {
  return self->is_shutting || (!self->stream->filter && self->chunk > 0);
}

/* Starts the first in the list, or goes on with it; true if it now waits for libuv. */
static bool start_writer(neap__write *self, int *code) {
  *code = 0;
  if (has_request(self)) return true;
  if (is_shutdown(self) && self->stream->is_shut) return false;
  if (!is_shutdown(self)) {
    *code = try_to_send(self);
    if (*code || has_gone(self)) return false;
  }
  *code = is_shutdown(self) ? send_shutdown(self) : send_chunk(self);
  return !*code;
}

/* Works off the list until somebody in it waits for libuv. */
void neap__stream_pump(neap__stream *stream) {
  neap__write *self;
  int code;
  ref(stream);
  while (!stream->is_closing && (self = first_writer(stream)) && !start_writer(self, &code))
    neap__op_end(&self->link, code);
  neap__stream_unref(stream);
}

static void enter_writers(neap__write *self) {
  neap__op_enter(&self->op, &self->link, &self->stream->writers);
}

static int start_write(neap__op *op) {
  neap__write *self = of_write(op);
  neap__stream *stream = self->stream;
  if (stream->is_closing) return NEAP_ECLOSED;
  bool is_first = neap__list_is_empty(&stream->writers);
  int code = is_first ? try_to_send(self) : 0;
  if (!code && is_first && has_gone(self)) {
    neap__op_settle(op, 0);
    return 0;
  }
  if (!code) code = keep_rest(self);
  if (!code && is_first) code = send_chunk(self);
  if (!code) enter_writers(self);
  return code;
}

static int start_shutdown(neap__op *op) {
  neap__write *self = of_write(op);
  if (self->stream->is_closing) return NEAP_ECLOSED;
  if (self->stream->is_shut) {
    neap__op_settle(op, 0);
    return 0;
  }
  int code = neap__list_is_empty(&self->stream->writers) ? send_shutdown(self) : 0;
  if (!code) enter_writers(self);
  return code;
}

/* The first in the list is with libuv and stays until its chunk has gone. A filter has its own output. */
static bool is_with_libuv(const neap__write *self) {
  return self->stream->filter ? self->is_shutting : first_writer(self->stream) == self;
}

static void abort_write(neap__op *op) {
  neap__write *self = of_write(op);
  if (is_with_libuv(self)) {
    if (is_abandoned(self->stream)) neap__stream_close(self->stream);
    return;
  }
  neap__op_leave(&self->link);
}

static void release_write(neap__op *op) {
  neap__write *self = of_write(op);
  neap__memory *memory = &op->task.loop->memory;
  neap__memory_free(memory, self->kept);
  if (self->buffers && self->buffers != self->few) neap__memory_free(memory, self->buffers);
  if (self->stream) neap__stream_unref(self->stream);
}

#define WRITE_KIND(task_name, start_function)                                                      \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(neap__write), .start = (start_function),      \
    .abort = abort_write, .release = release_write                                                 \
  }

const neap__op_kind neap__write_kind = WRITE_KIND("write", start_write);
const neap__op_kind neap__shutdown_kind = WRITE_KIND("shutdown", start_shutdown);

/* ---- Closing ------------------------------------------------------------------------------- */

static int start_closing(neap__op *op) {
  neap__closing *self = (neap__closing *)op;
  assert(self->stream->is_closing);
  if (self->stream->is_closed) {
    neap__op_settle(op, 0);
    return 0;
  }
  neap__op_enter(op, &self->link, &self->stream->closers);
  return 0;
}

static void abort_closing(neap__op *op) {
  neap__op_leave(&((neap__closing *)op)->link);
}

static void release_closing(neap__op *op) {
  neap__stream *stream = ((neap__closing *)op)->stream;
  if (stream) neap__stream_unref(stream);
}

const neap__op_kind neap__closing_kind = {.task = NEAP__OP_TASK("close"),
                                          .size = sizeof(neap__closing),
                                          .start = start_closing,
                                          .abort = abort_closing,
                                          .release = release_closing};
