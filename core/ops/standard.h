/* The process's own standard streams: descriptors 0, 1 and 2, which others have as well, such as Lua's io and
 * children. What is opened here is our own: closing it leaves them open and as they were. */
#ifndef NEAP_OPS_STANDARD_H
#define NEAP_OPS_STANDARD_H

#include "file.h"
#include "stream.h"

/* What it is: exactly one is set. The caller owns a reference. */
typedef struct neap__standard {
  neap__stream *stream; /* pipes and sockets; terminals are UV_TTY */
  neap__file *file;     /* files and other devices */
} neap__standard;

/* Opens descriptor `fd`, whose `name` is for messages. A negative code, with *syscall. */
int neap__standard_open(neap_loop *loop, int fd, const char *name, neap__standard *result,
                        const char **syscall);

/* Sets the mode of a terminal, which is put back when the stream closes. */
int neap__terminal_set_mode(neap__stream *terminal, uv_tty_mode_t mode);

#endif
