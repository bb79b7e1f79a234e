/* The directories of a watcher. Linux' inotify watches one directory and not what is below it, so a
 * recursive watcher has a handle for each directory, made when the directory appears. */
#ifndef NEAP_OPS_WATCH_TREE_H
#define NEAP_OPS_WATCH_TREE_H

#include "watch.h"

/* Looks at the watched path and all that is to be watched below it, then calls
 * neap__watcher_opened. */
int neap__watch_tree_begin(neap__watcher *watcher);

/* Closes everything; what libuv still has ends by itself. */
void neap__watch_tree_end(neap__watcher *watcher);

/* Whether the loop has to stay for the watcher's sake. */
void neap__watch_tree_keep_alive(neap__watcher *watcher, bool is_kept);

/* What it tells the watcher: */

/* It is open, or has failed. */
void neap__watcher_opened(neap__watcher *self, int code, const char *syscall);
/* `directory` is relative and ends with a slash, or is empty. */
void neap__watcher_add(neap__watcher *self, const char *directory, const char *name, bool is_change,
                       bool is_self);
/* Events are lost. */
void neap__watcher_lose(neap__watcher *self);
/* libuv has one thing more, one thing less of it. */
void neap__watcher_acquire(neap__watcher *self);
void neap__watcher_release(neap__watcher *self);

#endif
