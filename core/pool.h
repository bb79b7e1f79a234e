/* Threads for work that keeps a processor busy or blocks, apart from libuv's, which files need.
 *
 * An item goes from IDLE to QUEUED, RUNNING and ENDED; what changes its state holds the pool's mutex, so
 * that taking it off the queue, poking it while it runs and its end never overlap. Each thread keeps one
 * thing of its own for those that it runs, such as an interpreter. */
#ifndef NEAP_POOL_H
#define NEAP_POOL_H

#include "list.h"

#include "neap.h"

typedef struct neap__pool_item neap__pool_item;
typedef struct neap__pool_thread neap__pool_thread;

typedef enum neap__item_state {
  NEAP__ITEM_IDLE,
  NEAP__ITEM_QUEUED,
  NEAP__ITEM_RUNNING,
  NEAP__ITEM_ENDED
} neap__item_state;

struct neap__pool_item {
  neap__list link; /* in the queue */
  /* Thread: one of the pool. */
  void (*run)(neap__pool_item *item, neap__pool_thread *thread);
  /* Thread: the same, when it has run; may free it. */
  void (*end)(neap__pool_item *item, bool is_abandoned);
  neap__pool_thread *thread; /* while it runs */
  uint8_t state;
  bool is_abandoned;
};

struct neap__pool_thread {
  neap__list link;
  neap_pool *pool;
  uv_thread_t id;
  void *local;                    /* what those that it runs share */
  void (*end_local)(void *local); /* Thread: this one, at its end */
  bool is_lost;   /* it runs what was abandoned, and another one may take its place */
  bool is_joined; /* somebody waits for its end, and frees it */
};

/* Queues an idle item, which the caller keeps until `end`. The pool stays at least as long. A code if there
 * is no thread for it. */
int neap__pool_push(neap_pool *pool, neap__pool_item *item);

/* Takes it off the queue: true if it was there, and will never run. */
bool neap__pool_take_off(neap_pool *pool, neap__pool_item *item);

/* Gives it up while it runs: its thread does not count any more, and ends behind it. False: it is not
 * running. */
bool neap__pool_abandon(neap_pool *pool, neap__pool_item *item);

/* Calls `poke`, which must not block, unless it does not run (any more): then false. */
bool neap__pool_poke(neap_pool *pool, neap__pool_item *item, void (*poke)(neap__pool_item *item));

#endif
