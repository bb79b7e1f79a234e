/* Files. Every operation is one job of the thread pool: one trip for the whole of read_file. */
#ifndef NEAP_OPS_FS_H
#define NEAP_OPS_FS_H

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

typedef struct neap__fs_entry {
  char *name;
  uv_dirent_type_t type;
} neap__fs_entry;

/* Arguments in, results out. */
typedef struct neap__fs {
  neap__job job;
  char *path;       /* own copy */
  neap__file *file; /* of operations on an open file, referenced */
  int flags;        /* open: O_... */
  size_t size;      /* read: at most; write: of data; after it: what was moved */
  char *data;       /* write: what; read: the result */
  int64_t position;
  int fd;
  neap__fs_entry *entries; /* list: `size` of them, sorted by name */
} neap__fs;

extern const neap__op_kind neap__fs_read_file_kind;  /* path -> data, size */
extern const neap__op_kind neap__fs_write_file_kind; /* path, data, size, flags -> size */
extern const neap__op_kind neap__fs_list_kind;       /* path -> entries, size */
extern const neap__op_kind neap__fs_open_kind;       /* path, flags -> neap__fs_take_file */
extern const neap__op_kind neap__fs_read_kind;       /* file, size -> data, size (0: the end) */
extern const neap__op_kind neap__fs_write_kind;      /* file, data, size -> size */
extern const neap__op_kind neap__fs_close_kind;      /* file */

/* The file that an open has made; the caller owns a reference. NULL when out of memory. Once. */
neap__file *neap__fs_take_file(neap__fs *fs);

#endif
