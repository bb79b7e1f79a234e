/* The inbox: the only door through which other threads reach a loop. */
#ifndef NEAP_INBOX_H
#define NEAP_INBOX_H

#include "ready.h"

#include "neap.h"

/* A place in the queue, in memory of whoever posts, who sets `fn` and keeps it until it is called. */
typedef struct neap__post neap__post;
struct neap__post {
  neap__post *next;
  void (*fn)(neap__post *post); /* on the loop's thread; may free the post */
};

/* Invariant: the queue and is_closed are touched with the mutex held only. */
typedef struct neap__inbox {
  uv_mutex_t mutex;
  uv_cond_t arrived;
  uv_async_t async;
  neap__post *head, *tail;
  bool is_closed;
} neap__inbox;

int neap__inbox_init(neap__inbox *inbox, uv_loop_t *uv);

/* Posts it; false: the inbox is closed, and it is never called. Thread: any. */
bool neap__inbox_send(neap__inbox *inbox, neap__post *post);

/* Calls what was posted so far, in order. Loop thread. True if there was something. */
bool neap__inbox_drain(neap__inbox *inbox);

/* Blocks until there is a post, without calling it. Loop thread. */
void neap__inbox_wait(neap__inbox *inbox);

/* Refuses posts from now on and calls those that were accepted. */
void neap__inbox_close(neap__inbox *inbox);

void neap__inbox_deinit(neap__inbox *inbox);

#endif
