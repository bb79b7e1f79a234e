#include "ready.h"

/* splitmix64, by Sebastiano Vigna (public domain). */
static uint64_t draw(uint64_t *seed) {
  const uint64_t step = 0x9e3779b97f4a7c15;
  if ((*seed += step) == 0) *seed = step; /* 0 means in order */
  uint64_t z = *seed;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static size_t count_some(const neap__ready *ready) {
  enum { SOME = 64 };
  size_t n = 0;
  for (neap__runnable *runnable = ready->head; runnable && n < SOME; runnable = runnable->next) n++;
  return n;
}

neap__runnable *neap__ready_draw(neap__ready *ready) {
  size_t n = count_some(ready);
  size_t skip = n > 0 ? draw(&ready->seed) % n : 0;
  neap__runnable *before = NULL, *runnable = ready->head;
  for (; skip > 0; skip--) {
    before = runnable;
    runnable = runnable->next;
  }
  if (!before) return neap__ready_pop(ready);
  before->next = runnable->next;
  if (ready->tail == runnable) ready->tail = before;
  return runnable;
}

void neap__ready_remove(neap__ready *ready, bool (*is_meant)(neap__runnable *, void *),
                        void *data) {
  neap__ready kept = {.seed = ready->seed};
  for (neap__runnable *runnable; (runnable = neap__ready_pop(ready));)
    if (!is_meant(runnable, data)) neap__ready_push(&kept, runnable);
  *ready = kept;
}
