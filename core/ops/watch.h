/* Watching a file or a directory for changes, with libuv's uv_fs_event_t. */
#ifndef NEAP_OPS_WATCH_H
#define NEAP_OPS_WATCH_H

#include "../loop.h"
#include "../op.h"

/* Events that are kept while nobody takes them; what comes then is lost, which one event tells. */
enum { NEAP__WATCH_EVENTS = 1024 };

typedef struct neap__watch_event {
  neap__list link;
  bool is_change; /* of the content or of attributes; else made, removed or renamed */
  bool is_self;   /* it is the watched path itself that it concerns */
  char name[];    /* relative to the watched directory */
} neap__watch_event;

struct neap__watch_dir;

/* Listens from the end of its opening until it is closed. References: the holder's, one for each
 * operation, and one while libuv has something of it. It keeps the loop alive only while somebody
 * waits. */
typedef struct neap__watcher {
  neap__resource resource;
  neap_loop *loop;
  char *path; /* without a slash at its end */
  uint32_t refs;
  size_t open;                  /* handles and work that libuv has */
  struct neap__watch_dir *root; /* NULL: closed, or not yet there */
  neap__list looks;             /* what is to be looked at; the first is with the pool */
  size_t probes;                /* of these */
  neap__op *opener, *waiter;    /* pending, or NULL */
  neap__list closers;           /* those who wait for the end */
  neap__list events;
  size_t event_count;
  bool has_lost; /* events, after those in the list */
  bool is_recursive, is_directory;
  bool is_stale; /* directories may have been missed: look at all of them again */
  bool is_closing, is_dropped;
} neap__watcher;

/* Stops to listen; a pending next is done without an event. Idempotent. */
void neap__watcher_close(neap__watcher *self);
void neap__watcher_unref(neap__watcher *self);
/* Its holder has gone: it closes when nobody waits any more. Takes the holder's reference. */
void neap__watcher_drop(neap__watcher *self);

typedef struct neap__watch_op {
  neap__op op;
  neap__watcher *watcher; /* referenced; open: the new one, see _take */
  char *path;             /* open: own copy */
  bool is_recursive;
  neap__op_link link;       /* close: in watcher->closers */
  neap__watch_event *event; /* next: own; NULL: closed, or is_lost */
  bool is_lost;             /* next: events were lost here */
} neap__watch_op;

extern const neap__op_kind neap__watch_open_kind;  /* path, is_recursive -> _take */
extern const neap__op_kind neap__watch_next_kind;  /* watcher -> event, is_lost */
extern const neap__op_kind neap__watch_close_kind; /* watcher, which is closing already */

/* The watcher that an open has made; the caller owns a reference. Once. */
neap__watcher *neap__watch_take(neap__watch_op *self);

#endif
