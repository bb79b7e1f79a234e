#include "timer.h"

#include <assert.h>
#include <math.h>

enum { ARITY = 4, INITIAL_CAPACITY = 16 };

void neap__timers_init(neap__timers *timers, neap__memory *memory) {
  *timers = (neap__timers){.memory = memory};
}

void neap__timers_deinit(neap__timers *timers) {
  for (size_t i = 0; i < timers->count; i++) timers->heap[i]->place = 0;
  timers->count = 0;
  neap__memory_free(timers->memory, timers->heap);
  timers->heap = NULL;
}

static bool is_before(const neap__timer *a, const neap__timer *b) {
  return a->deadline < b->deadline || (a->deadline == b->deadline && a->order < b->order);
}

static void put(neap__timers *timers, size_t index, neap__timer *timer) {
  timers->heap[index] = timer;
  timer->place = index + 1;
}

static void sift_up(neap__timers *timers, size_t index, neap__timer *timer) {
  while (index > 0) {
    size_t parent = (index - 1) / ARITY;
    if (!is_before(timer, timers->heap[parent])) break;
    put(timers, index, timers->heap[parent]);
    index = parent;
  }
  put(timers, index, timer);
}

static size_t earliest_child(const neap__timers *timers, size_t index) {
  size_t first = index * ARITY + 1;
  size_t last = first + ARITY < timers->count ? first + ARITY : timers->count;
  size_t best = first;
  for (size_t child = first + 1; child < last; child++)
    if (is_before(timers->heap[child], timers->heap[best])) best = child;
  return best;
}

static void sift_down(neap__timers *timers, size_t index, neap__timer *timer) {
  while (index * ARITY + 1 < timers->count) {
    size_t child = earliest_child(timers, index);
    if (!is_before(timers->heap[child], timer)) break;
    put(timers, index, timers->heap[child]);
    index = child;
  }
  put(timers, index, timer);
}

static int reserve(neap__timers *timers) {
  if (timers->count < timers->capacity) return 0;
  size_t capacity = timers->capacity ? timers->capacity * 2 : INITIAL_CAPACITY;
  neap__timer **heap = neap__memory_resize(timers->memory, timers->heap, capacity * sizeof *heap);
  if (!heap) return UV_ENOMEM;
  timers->heap = heap;
  timers->capacity = capacity;
  return 0;
}

int neap__timer_arm(neap__timers *timers, neap__timer *timer, double deadline) {
  assert(!neap__timer_is_armed(timer));
  int code = reserve(timers);
  if (code) return code;
  timer->deadline = deadline;
  timer->order = ++timers->order;
  sift_up(timers, timers->count++, timer);
  return 0;
}

/* Gives memory back when a crowd of sleepers has gone. */
static void shrink(neap__timers *timers) {
  if (timers->capacity <= 1024 || timers->count > timers->capacity / 8) return;
  size_t capacity = timers->capacity / 4;
  neap__timer **heap = neap__memory_resize(timers->memory, timers->heap, capacity * sizeof *heap);
  if (!heap) return;
  timers->heap = heap;
  timers->capacity = capacity;
}

void neap__timer_disarm(neap__timers *timers, neap__timer *timer) {
  if (!neap__timer_is_armed(timer)) return;
  size_t index = timer->place - 1;
  timer->place = 0;
  neap__timer *last = timers->heap[--timers->count];
  if (last != timer) {
    if (index > 0 && is_before(last, timers->heap[(index - 1) / ARITY]))
      sift_up(timers, index, last);
    else
      sift_down(timers, index, last);
  }
  shrink(timers);
}

void neap__timers_shift(neap__timers *timers, double by) {
  for (size_t i = 0; i < timers->count; i++) timers->heap[i]->deadline += by;
  /* Rounding may have made two of them equal. */
  for (size_t i = timers->count; i-- > 0;) sift_down(timers, i, timers->heap[i]);
}

double neap__timers_next(const neap__timers *timers) {
  return timers->count ? timers->heap[0]->deadline : HUGE_VAL;
}

size_t neap__timers_fire(neap__timers *timers, double now) {
  uint64_t newest = timers->order;
  size_t fired = 0;
  while (timers->count > 0) {
    neap__timer *timer = timers->heap[0];
    if (timer->deadline > now || timer->order > newest) break;
    neap__timer_disarm(timers, timer);
    timer->fire(timer);
    fired++;
  }
  return fired;
}

bool neap__timers_is_valid(const neap__timers *timers) {
  for (size_t i = 0; i < timers->count; i++) {
    if (timers->heap[i]->place != i + 1) return false;
    if (i > 0 && is_before(timers->heap[i], timers->heap[(i - 1) / ARITY])) return false;
  }
  return true;
}
