/* The ready queue: what runs next, first in first out. */
#ifndef NEAP_READY_H
#define NEAP_READY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct neap__runnable neap__runnable;
struct neap__runnable {
  neap__runnable *next;
  void (*run)(neap__runnable *runnable); /* called once, already off the queue */
};

/* Invariant: tail is the last from head on; both NULL when empty. */
typedef struct neap__ready {
  neap__runnable *head, *tail;
  uint64_t seed; /* for tests: of the order in which they run; 0: first in, first out */
} neap__ready;

static inline void neap__ready_push(neap__ready *ready, neap__runnable *runnable) {
  runnable->next = NULL;
  if (ready->tail)
    ready->tail->next = runnable;
  else
    ready->head = runnable;
  ready->tail = runnable;
}

static inline neap__runnable *neap__ready_pop(neap__ready *ready) {
  neap__runnable *runnable = ready->head;
  if (!runnable) return NULL;
  ready->head = runnable->next;
  if (!ready->head) ready->tail = NULL;
  return runnable;
}

/* Takes out one that is drawn by the seed, from the first 64. */
neap__runnable *neap__ready_draw(neap__ready *ready);

/* Forgets all of them. */
static inline void neap__ready_clear(neap__ready *ready) {
  ready->head = ready->tail = NULL;
}

/* Takes out those for which `is_meant` is true; linear in the length of the queue. */
void neap__ready_remove(neap__ready *ready, bool (*is_meant)(neap__runnable *, void *), void *data);

#endif
