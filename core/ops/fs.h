/* Paths. Every operation is one job of the thread pool: one trip for the whole of read_file. */
#ifndef NEAP_OPS_FS_H
#define NEAP_OPS_FS_H

#include "../loop.h"
#include "job.h"

typedef struct neap__fs_entry {
  char *name;
  uv_dirent_type_t type;
} neap__fs_entry;

/* Arguments in, results out. */
typedef struct neap__fs {
  neap__job job;
  char *path;              /* own copy */
  int flags;               /* open: O_... */
  size_t size;             /* read: at most; write: of data; after it: what was moved */
  char *data;              /* write: what; read: the result */
  neap__fs_entry *entries; /* list: `size` of them, sorted by name */
} neap__fs;

extern const neap__op_kind neap__fs_read_file_kind;  /* path -> data, size */
extern const neap__op_kind neap__fs_write_file_kind; /* path, data, size, flags -> size */
extern const neap__op_kind neap__fs_list_kind;       /* path -> entries, size */

#endif
