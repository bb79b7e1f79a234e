/* The ready queue: what runs next, first in first out. */
#ifndef NEAP_READY_H
#define NEAP_READY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct neap__runnable neap__runnable;
struct neap__runnable {
  neap__runnable *next;
  void (*run)(neap__runnable *runnable); /* called once, already off the queue */
};

/* Invariant: tail is the last from head on; both NULL when empty. */
typedef struct neap__ready {
  neap__runnable *head, *tail;
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

/* Takes out those for which `is_meant` is true; linear in the length of the queue. */
void neap__ready_remove(neap__ready *ready, bool (*is_meant)(neap__runnable *, void *), void *data);

#endif
