/* Writing whole files. Thread: the pool's. */
#ifndef NEAP_OPS_FS_WRITE_H
#define NEAP_OPS_FS_WRITE_H

#include "fs.h"

/* All of the data; UV_ECANCELED when it was stopped before the end. */
int neap__fs_write_data(neap__fs *fs, int fd);

/* Closes; its error counts unless there was one before. */
int neap__fs_close_written(neap__fs *fs, int fd, int code);

/* A new file takes the place of the old one, which stays as it was until then. */
int neap__fs_write_atomically(neap__fs *fs);

#endif
