/* Paths. Every operation is one job of the thread pool, also one that works on a whole tree; read_file
 * may do without. */
#ifndef NEAP_OPS_FS_H
#define NEAP_OPS_FS_H

#include "../bytes.h"
#include "job.h"

#include <stdatomic.h>

typedef struct neap__fs_entry {
  const char *name; /* in `result` */
  size_t offset;    /* there */
  uv_dirent_type_t type;
} neap__fs_entry;

/* Bits of neap__fs.flags, where the operation has any. */
enum {
  NEAP__FS_RECURSIVE = 1,
  NEAP__FS_MISSING_OK = 2,
  NEAP__FS_PARENTS = 4,
  NEAP__FS_ATOMIC = 8,
  NEAP__FS_SYNC = 16,
  NEAP__FS_APPEND = 32,
  NEAP__FS_OVERWRITE = 64,
  NEAP__FS_NOFOLLOW = 128
};

/* Arguments in, results out. */
typedef struct neap__fs {
  neap__job job;
  atomic_bool is_stopped; /* cancelled: a job that takes long looks at it. Thread: any */
  int flags;
  int mode;          /* permissions, or what access() asks for */
  int fd;            /* read_file: opened on the loop's thread already; -1 */
  char *path;        /* own copy */
  char *dest;        /* the second path of two; own copy */
  char *data;        /* write: what; own copy, or in `bytes` */
  neap_bytes *bytes; /* write: the block that has the data, referenced; NULL: none */
  size_t size;       /* of data; then of result: bytes, or entries */
  union {
    double times[2]; /* utime: access and modification; NaN: now */
    int64_t length;  /* truncate */
    struct {
      int64_t uid, gid; /* -1: as it is */
    } owner;
  } to;
  bool is_true;            /* access */
  char *result;            /* in memory of the job */
  neap__fs_entry *entries; /* list: `size` of them, sorted by name; in memory of the job */
} neap__fs;

/* stat, lstat and statfs */
typedef struct neap__fs_info {
  neap__fs fs;
  union {
    uv_stat_t stat;
    uv_statfs_t statfs;
  } is;
} neap__fs_info;

typedef struct neap__fs_kind {
  neap__op_kind op;
  /* Thread: the pool's. As the run of a job. */
  int (*run)(neap__fs *fs);
  /* Before it settles, also when it was cancelled, and then perhaps never run. Thread: the loop's. May
   * be NULL. */
  void (*finish)(neap__fs *fs);
} neap__fs_kind;

/* Arguments -> results. */
extern const neap__fs_kind neap__fs_read_file;  /* path -> result, size */
extern const neap__fs_kind neap__fs_write_file; /* path, data, size, mode, flags */
extern const neap__fs_kind neap__fs_copy_file;  /* path, dest, flags */
extern const neap__fs_kind neap__fs_list;       /* path, flags -> entries, size */
extern const neap__fs_kind neap__fs_mkdir;      /* path, mode, flags */
extern const neap__fs_kind neap__fs_remove;     /* path, flags */
extern const neap__fs_kind neap__fs_rename;     /* path, dest */
extern const neap__fs_kind neap__fs_link;       /* path, dest */
extern const neap__fs_kind neap__fs_symlink;    /* path (what it says), dest (where it is) */
extern const neap__fs_kind neap__fs_readlink;   /* path -> result */
extern const neap__fs_kind neap__fs_realpath;   /* path -> result */
extern const neap__fs_kind neap__fs_stat;       /* path -> is.stat */
extern const neap__fs_kind neap__fs_lstat;      /* path -> is.stat */
extern const neap__fs_kind neap__fs_statfs;     /* path -> is.statfs */
extern const neap__fs_kind neap__fs_access;     /* path, mode -> is_true */
extern const neap__fs_kind neap__fs_chmod;      /* path, mode */
extern const neap__fs_kind neap__fs_chown;      /* path, to.owner, flags */
extern const neap__fs_kind neap__fs_utime;      /* path, to.times, flags */
extern const neap__fs_kind neap__fs_truncate;   /* path, to.length */
extern const neap__fs_kind neap__fs_mkdtemp;    /* path: a template -> result */

/* ---- For the kinds ------------------------------------------------------------------------- */

int neap__fs_start(neap__op *op);
void neap__fs_abort(neap__op *op);
void neap__fs_release(neap__op *op);

#define NEAP__FS_OP(task_name, type)                                                               \
  {                                                                                                \
    .task = NEAP__OP_TASK(task_name), .size = sizeof(type), .start = neap__fs_start,               \
    .abort = neap__fs_abort, .release = neap__fs_release                                           \
  }

/* A failed system call: -errno. Thread: any. */
static inline int neap__fs_fail(neap__fs *fs, const char *syscall) {
  return neap__job_fail(&fs->job, syscall);
}

/* The same for what is no system call's error. */
static inline int neap__fs_refuse(neap__fs *fs, int code, const char *syscall) {
  fs->job.op.error.syscall = syscall;
  return code;
}

/* 0 or UV_ECANCELED: whether to go on. Thread: the pool's. */
static inline int neap__fs_check(neap__fs *fs) {
  return atomic_load_explicit(&fs->is_stopped, memory_order_relaxed) ? UV_ECANCELED : 0;
}

/* A result of `size` bytes and a NUL. UV_ENOMEM. */
int neap__fs_set_result(neap__fs *fs, const char *result, size_t size);

#endif
