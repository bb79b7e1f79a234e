#include "http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/sendfile.h>
#endif

enum { MAX_PART = 1024 * 1024 /* in one job: others want the thread, too */ };

static neap__http_sendfile *of_op(neap__op *op) {
  return (neap__http_sendfile *)op;
}

static ssize_t send_part(neap__http_sendfile *self, size_t n) {
#ifdef __linux__
  off_t offset = (off_t)(self->offset + self->sent);
  return sendfile(self->socket, self->fd, &offset, n);
#else
  (void)self, (void)n;
  errno = ENOSYS;
  return -1;
#endif
}

/* A full socket is no error: less was sent. */
static int run(neap__job *job) {
  neap__http_sendfile *self = (neap__http_sendfile *)job;
  while (self->sent < self->count) {
    int64_t rest = self->count - self->sent;
    ssize_t n = send_part(self, (size_t)(rest < MAX_PART ? rest : MAX_PART));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) return neap__job_fail(job, "sendfile");
    self->sent += n;
    if (n == 0 || self->sent >= MAX_PART) return 0;
  }
  return 0;
}

/* Descriptors of its own: those of the stream and the file may be closed, and used again, meanwhile. */
static int duplicate(neap__http_sendfile *self, int socket) {
  self->fd = fcntl(self->file, F_DUPFD_CLOEXEC, 0);
  if (self->fd < 0) return uv_translate_sys_error(errno);
  self->socket = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (self->socket >= 0) {
    self->has_both = true;
    return 0;
  }
  int code = uv_translate_sys_error(errno);
  close(self->fd);
  return code;
}

static void close_both(neap__job *job) {
  neap__http_sendfile *self = (neap__http_sendfile *)job;
  if (!self->has_both) return;
  self->has_both = false;
  close(self->fd);
  close(self->socket);
}

static int start(neap__op *op) {
  neap__http_sendfile *self = of_op(op);
  uv_os_fd_t socket;
  if (self->stream->is_closing) return NEAP_ECLOSED;
  if (self->stream->filter) return neap__op_fail(op, "sendfile", UV_ENOTSUP);
  int code = uv_fileno(&self->stream->uv.handle, &socket);
  if (code) return neap__op_fail(op, "fileno", code);
  code = duplicate(self, socket);
  if (code) return neap__op_fail(op, "dup", code);
  self->job.run = run;
  self->job.finish = close_both;
  return neap__job_start(op);
}

static void release(neap__op *op) {
  neap__http_sendfile *self = of_op(op);
  close_both(&self->job);
  if (self->stream) neap__stream_unref(self->stream);
}

const neap__op_kind neap__http_sendfile_kind = {.task = NEAP__OP_TASK("sendfile"),
                                                .size = sizeof(neap__http_sendfile),
                                                .start = start,
                                                .abort = neap__job_abort,
                                                .release = release};
