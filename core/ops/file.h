/* Open files. Every operation is one job of the thread pool. */
#ifndef NEAP_OPS_FILE_H
#define NEAP_OPS_FILE_H

#include "../loop.h"
#include "job.h"

/* An open file. Two kinds of references: the holder's and one for each operation in flight; the
 * descriptor is closed when it was closed and the last operation has ended. */
typedef struct neap__file {
  neap__resource resource;
  neap_loop *loop;
  char *path;
  int fd; /* -1: closed */
  uint32_t refs;
  uint32_t busy;    /* jobs that use the descriptor */
  int64_t position; /* moved only by what was not cancelled: a cancelled read has read nothing */
  neap__op *reader, *writer; /* in the pool */
  bool is_closing;
  bool appends;
} neap__file;

/* Drops a reference; the last one closes. */
void neap__file_unref(neap__file *file);

/* Closes without a wait: now, or when the last operation on it has ended. Idempotent. */
void neap__file_close_soon(neap__file *file);

/* Arguments in, results out. */
typedef struct neap__file_op {
  neap__job job;
  char *path;       /* open: own copy */
  neap__file *file; /* of operations on an open file, referenced */
  int flags;        /* open: O_... */
  size_t size;      /* read: at most; write: of data; after it: what was moved */
  char *data;       /* write: what; read: the result */
  int64_t position;
  int fd;
} neap__file_op;

extern const neap__op_kind neap__file_open_kind;  /* path, flags -> neap__file_take */
extern const neap__op_kind neap__file_read_kind;  /* file, size -> data, size (0: the end) */
extern const neap__op_kind neap__file_write_kind; /* file, data, size -> size */
extern const neap__op_kind neap__file_close_kind; /* file */

/* The file that an open has made; the caller owns a reference. NULL when out of memory. Once. */
neap__file *neap__file_take(neap__file_op *self);

#endif
