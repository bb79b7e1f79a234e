#include "standard.h"

#include "syscall.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* A stream that has to put something back. */
typedef struct standard_stream {
  neap__stream stream;
  uv_tty_mode_t mode;
  int flags; /* of a descriptor that others have as well, before we changed them; -1: of our own */
} standard_stream;

static void on_closing(neap__stream *stream) {
  standard_stream *self = (standard_stream *)stream;
  uv_os_fd_t fd;
  if (self->mode != UV_TTY_MODE_NORMAL) uv_tty_set_mode(&stream->uv.tty, UV_TTY_MODE_NORMAL);
  if (self->flags >= 0 && uv_fileno(&stream->uv.handle, &fd) == 0) fcntl(fd, F_SETFL, self->flags);
}

static int new_stream(neap_loop *loop, uv_handle_type type, int fd, int flags,
                      neap__stream **result) {
  int code = neap__stream_new(loop, type, fd, sizeof(standard_stream), result);
  if (code) return code;
  standard_stream *self = (standard_stream *)*result;
  self->mode = UV_TTY_MODE_NORMAL;
  self->flags = flags;
  (*result)->closing = on_closing;
  return 0;
}

static int duplicate(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return copy < 0 ? -errno : copy;
}

/* ---- Terminals ------------------------------------------------------------------------------ */

/* libuv opens the terminal anew, where it can, and puts that in the place of the descriptor it is given,
 * which then no longer blocks and is closed by exec: so it is given a copy. */
static int open_terminal(neap_loop *loop, int fd, neap__stream **result) {
  uv_os_fd_t own;
  int copy = duplicate(fd);
  if (copy < 0) return copy;
  int flags = fcntl(copy, F_GETFL);
  int code = new_stream(loop, UV_TTY, copy, -1, result);
  if (code) {
    close(copy);
    return code;
  }
  uv_fileno(&(*result)->uv.handle, &own);
  if (own != copy)
    close(copy);
  else /* it could not: this is what others have as well */
    ((standard_stream *)*result)->flags = flags;
  return 0;
}

int neap__terminal_set_mode(neap__stream *terminal, uv_tty_mode_t mode) {
  if (terminal->is_closing) return NEAP_ECLOSED;
  int code = uv_tty_set_mode(&terminal->uv.tty, mode);
  if (!code) ((standard_stream *)terminal)->mode = mode;
  return code;
}

/* ---- Pipes and sockets ---------------------------------------------------------------------- */

/* A pipe of our own to the same place, which may do without blocking and leave others in peace. -1: the
 * system has nothing like this, or does not let us. */
static int open_anew(int fd, int flags) {
#ifdef __linux__
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return neap__open(path, (flags & O_ACCMODE) | O_NONBLOCK, 0);
#else
  (void)fd, (void)flags;
  return -1;
#endif
}

static int adopt(neap_loop *loop, uv_handle_type type, int fd, int flags, neap__stream **result) {
  int code = new_stream(loop, type, -1, flags, result);
  if (code) return code;
  code =
      type == UV_TCP ? uv_tcp_open(&(*result)->uv.tcp, fd) : uv_pipe_open(&(*result)->uv.pipe, fd);
  if (!code) return 0;
  (*result)->closing = NULL;
  neap__stream_close(*result);
  neap__stream_unref(*result);
  return code;
}

static int open_stream(neap_loop *loop, uv_handle_type type, int fd, bool is_fifo,
                       neap__stream **result) {
  int flags = fcntl(fd, F_GETFL);
  int own = is_fifo ? open_anew(fd, flags) : -1;
  bool is_shared = own < 0;
  if (is_shared) own = duplicate(fd);
  if (own < 0) return own;
  int code = adopt(loop, type, own, is_shared ? flags : -1, result);
  if (code) close(own);
  return code;
}

/* UV_TCP or UV_NAMED_PIPE; UV_UNKNOWN_HANDLE for sockets that are no byte streams. */
static uv_handle_type socket_type(int fd) {
  struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
  socklen_t length = sizeof name, size = sizeof(int);
  int type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM)
    return UV_UNKNOWN_HANDLE;
  if (getsockname(fd, (struct sockaddr *)&name, &length)) return UV_UNKNOWN_HANDLE;
  return name.ss_family == AF_UNIX ? UV_NAMED_PIPE : UV_TCP;
}

/* ---- All kinds ------------------------------------------------------------------------------ */

/* Its position is shared with all who have the descriptor. */
static int open_file(neap_loop *loop, int fd, const char *name, neap__file **result) {
  int copy = duplicate(fd);
  if (copy < 0) return copy;
  *result = neap__file_adopt(loop, copy, name, false);
  if (*result) return 0;
  close(copy);
  return UV_ENOMEM;
}

static int open_any(neap_loop *loop, int fd, const char *name, neap__standard *result,
                    const char **syscall) {
  struct stat info;
  *result = (neap__standard){NULL, NULL};
  *syscall = "fstat";
  if (fstat(fd, &info)) return -errno;
  *syscall = "open";
  uv_handle_type type = S_ISSOCK(info.st_mode) ? socket_type(fd) : UV_UNKNOWN_HANDLE;
  if (isatty(fd)) return open_terminal(loop, fd, &result->stream);
  if (S_ISFIFO(info.st_mode)) type = UV_NAMED_PIPE;
  if (type == UV_UNKNOWN_HANDLE) return open_file(loop, fd, name, &result->file);
  return open_stream(loop, type, fd, S_ISFIFO(info.st_mode), &result->stream);
}

int neap__standard_open(neap_loop *loop, int fd, const char *name, neap__standard *result,
                        const char **syscall) {
  int code = open_any(loop, fd, name, result, syscall);
  if (result->stream) result->stream->resource.is_standing = true;
  if (result->file) result->file->resource.is_standing = true;
  return code;
}
