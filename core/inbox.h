/* The inbox: the only door through which other threads reach a loop.
 *
 * It is memory of its own, so that those who post may do so until they let it go: once the loop is closing
 * they are refused. */
#ifndef NEAP_INBOX_H
#define NEAP_INBOX_H

#include "ready.h"

#include "neap.h"

#include <stdatomic.h>

/* A place in the queue, in memory of whoever posts, who sets `fn` and keeps it until it is called. */
typedef struct neap__post neap__post;
struct neap__post {
  neap__post *next;
  void (*fn)(neap__post *post); /* on the loop's thread; may free the post */
};

/* Invariant: the queue, is_closed and wake are touched with the mutex held only. */
struct neap_inbox {
  atomic_size_t refs;
  uv_mutex_t mutex;
  uv_cond_t arrived;
  uv_async_t async; /* holds a reference until libuv has closed it */
  neap__post *head, *tail;
  neap__post *taken; /* that are being called, one after the other. Loop thread */
  bool is_closed;
  bool is_calling;          /* a post is being called. Loop thread */
  void (*wake)(void *data); /* of a host that does not watch a descriptor */
  void *wake_data;
  void (*on_closed)(void *data);
};

/* Owner: the caller has one reference, which neap__inbox_close_handle gives up. */
int neap__inbox_new(uv_loop_t *uv, neap_inbox **result);

/* Posts it; false: the inbox is closed, and it is never called. Thread: any. */
bool neap__inbox_send(neap_inbox *inbox, neap__post *post);

/* Calls what was posted so far, in order. Loop thread. True if there was something. */
bool neap__inbox_drain(neap_inbox *inbox);

/* Blocks until there is a post, without calling it. Loop thread. */
void neap__inbox_wait(neap_inbox *inbox);

/* Moves it: `leave` closes its handle and makes those that post wait until `enter` has made another one,
 * on a loop that it keeps alive if `is_held`. The handle has to be closed before that. */
void neap__inbox_leave(neap_inbox *inbox);
int neap__inbox_enter(neap_inbox *inbox, uv_loop_t *uv, bool is_held);

/* Refuses posts from now on and calls those that were accepted. */
void neap__inbox_close(neap_inbox *inbox);

/* Closes its handle; `on_closed` is told with the handle's data, which the caller sets. */
void neap__inbox_close_handle(neap_inbox *inbox, void (*on_closed)(void *data), void *data);

#endif
