/* Open files. What may block is a job of the thread pool; what the page cache holds is read at once. */
#ifndef NEAP_OPS_FILE_H
#define NEAP_OPS_FILE_H

#include "../bytes.h"
#include "job.h"
#include "reader.h"

/* A read for the reader, in the pool: one at a time. */
typedef struct neap__file_pull {
  uv_work_t work;
  char *block;
  size_t size, capacity;
  int64_t position;
  uint64_t epoch;
  int64_t result; /* bytes, or a negative code */
  bool is_busy;
} neap__file_pull;

/* An open file. Two kinds of references: the holder's and one for each operation in flight; the
 * descriptor is closed when it was closed and the last operation has ended.
 *
 * The position that users see is `position` less what the reader has buffered. What moves it otherwise
 * than by reading empties the buffer and begins a new epoch: what a read of the old one brings is not
 * what follows. */
typedef struct neap__file {
  neap__resource resource;
  neap_loop *loop;
  char *path;
  int fd; /* -1: closed */
  uint32_t refs;
  uint32_t busy;    /* jobs that use the descriptor */
  int64_t position; /* -1: it has none: a pipe, a terminal, a file shared with other processes */
  uint64_t epoch;
  neap__reader reader;
  neap__file_pull pull;
  neap__list closers; /* closes that wait for jobs */
  neap__op *writer;   /* the job that writes at the position */
  neap__op *next;     /* a write that waits for one which was cancelled, and runs out */
  uint64_t burst_of;  /* the read that is served on the spot, and how often in a row */
  uint32_t burst;
  bool is_closing;
  bool has_close_job;
  bool appends;
  bool is_uncached; /* the file system cannot tell what it would have to wait for */
  bool is_memory;   /* ... but it lies in memory anyway */
  bool unlinks_at_close;
} neap__file;

/* Takes over an open descriptor; `path` (for messages) is copied. `has_position`: nobody else moves it.
 * NULL when out of memory: the descriptor is still the caller's. The caller owns a reference. */
neap__file *neap__file_adopt(neap_loop *loop, int fd, const char *path, bool has_position);

/* Drops a reference; the last one closes. */
void neap__file_unref(neap__file *file);

/* Closes without a wait: now, or when the last operation on it has ended. Idempotent. */
void neap__file_close_soon(neap__file *file);

/* The position that users see; -1 if there is none. */
int64_t neap__file_position(const neap__file *file);
/* Moves it, and forgets what was read ahead. */
void neap__file_move(neap__file *file, int64_t position);

/* Arguments in, results out. */
typedef struct neap__file_op {
  neap__job job;
  char *path;          /* open: own copy */
  neap__file *file;    /* of operations on an open file, referenced */
  int flags;           /* open: O_... */
  int mode;            /* open: permissions of a new file; chmod */
  size_t size;         /* read_at: at most; write: of data; after it: what was moved */
  char *data;          /* write: what; read_at: the result; own, or in `bytes` */
  neap_bytes *bytes;   /* write: the block that has the data, referenced; NULL: none */
  neap__target target; /* read_at_into: where to */
  int64_t position;    /* read_at, write_at; truncate, seek: a size; seek: the new one */
  int64_t end;         /* of a write without a position: where the system's is behind it */
  int fd;
  bool unlinks_at_close;
  bool is_data_only;  /* sync */
  double times[2];    /* utime: access and modification; NaN: now */
  neap__op_link link; /* close: in file->closers */
} neap__file_op;

typedef struct neap__file_stat {
  neap__file_op op;
  uv_stat_t stat;
} neap__file_stat;

extern const neap__op_kind neap__file_open_kind;         /* path, flags, mode -> neap__file_take */
extern const neap__op_kind neap__file_write_kind;        /* file, data, size -> size */
extern const neap__op_kind neap__file_read_at_kind;      /* file, position, size -> data, size */
extern const neap__op_kind neap__file_read_at_into_kind; /* file, position, size, target -> size */
extern const neap__op_kind neap__file_write_at_kind;     /* file, position, data, size -> size */
extern const neap__op_kind neap__file_seek_end_kind; /* file, position: from the end -> position */
extern const neap__op_kind neap__file_sync_kind;     /* file, is_data_only */
extern const neap__op_kind neap__file_truncate_kind; /* file, position: the size; -1: here */
extern const neap__op_kind neap__file_stat_kind;     /* file -> stat */
extern const neap__op_kind neap__file_chmod_kind;    /* file, mode */
extern const neap__op_kind neap__file_utime_kind;    /* file, times */
extern const neap__op_kind neap__file_close_kind;    /* file */

/* The file that an open has made; the caller owns a reference. NULL when out of memory. Once. */
neap__file *neap__file_take(neap__file_op *self);

#endif
