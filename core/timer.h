/* Deadlines: a 4-ary heap ordered by time, then by the order in which they were armed. */
#ifndef NEAP_TIMER_H
#define NEAP_TIMER_H

#include "memory.h"

typedef struct neap__timer neap__timer;
struct neap__timer {
  double deadline;                  /* seconds of the loop's clock */
  uint64_t order;                   /* breaks ties */
  size_t place;                     /* 1 + index in the heap; 0: not armed */
  void (*fire)(neap__timer *timer); /* called unarmed; may arm, disarm or free anything */
};

typedef struct neap__timers {
  neap__timer **heap; /* Invariant: heap[i]->place == i + 1, no child before its parent */
  size_t count, capacity;
  uint64_t order;
  neap__memory *memory;
} neap__timers;

void neap__timers_init(neap__timers *timers, neap__memory *memory);
/* What is still armed is not any more. */
void neap__timers_deinit(neap__timers *timers);

static inline bool neap__timer_is_armed(const neap__timer *timer) {
  return timer->place != 0;
}

/* Arms a timer that is not armed. UV_ENOMEM. */
int neap__timer_arm(neap__timers *timers, neap__timer *timer, double deadline);
/* Harmless when not armed. Never allocates. */
void neap__timer_disarm(neap__timers *timers, neap__timer *timer);

/* The earliest deadline; HUGE_VAL when there is none. */
double neap__timers_next(const neap__timers *timers);
/* Fires what is due at `now`, in order; what these calls arm waits for the next call. Returns how
 * many fired. */
size_t neap__timers_fire(neap__timers *timers, double now);

/* Moves all deadlines by so many seconds. */
void neap__timers_shift(neap__timers *timers, double by);

/* Walks the whole heap. For checking builds. */
bool neap__timers_is_valid(const neap__timers *timers);

#endif
