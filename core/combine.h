/* Tasks made of other tasks: all, any, settle, wait_for, flatten.
 *
 * A combined task holds one wait in each element. When the elements have decided it, it is put on
 * the loop's list of ended ones and settled from there, so that chains of any length are flat. */
#ifndef NEAP_COMBINE_H
#define NEAP_COMBINE_H

#include "task.h"
#include "timer.h"

typedef enum neap__combine_mode {
  NEAP__ALL,      /* done when all elements are; failed or cancelled like the first that is */
  NEAP__ANY,      /* done when the first element has ended */
  NEAP__SETTLE,   /* one element: done when it has ended */
  NEAP__WAIT_FOR, /* one element: its outcome, or ETIMEDOUT */
  NEAP__FLATTEN   /* the outcome of the task that the element ends with */
} neap__combine_mode;

typedef struct neap__combine neap__combine;

typedef struct neap__element {
  neap__wait wait; /* target stays after it has ended */
  neap__combine *combine;
} neap__element;

/* Invariant: remaining is the number of elements whose wait is linked. */
struct neap__combine {
  neap_task task;
  neap__list ended_link;
  neap__timer timer;
  /* FLATTEN: the task that `ended` ended with, NULL if it is no task. The host keeps it alive. */
  neap_task *(*follow)(neap__combine *combine, neap_task *ended);
  neap__combine_mode mode;
  size_t count, remaining;
  size_t decisive; /* index of the element whose outcome counts; ANY: of the first that ended */
  bool is_reached; /* a cancellation has been delivered to it */
  bool has_timed_out;
  neap__element elements[];
};

/* Combines `count` tasks, which are referenced until it is destroyed. `seconds` is for WAIT_FOR,
 * `follow` for FLATTEN. UV_ENOMEM. Owner: the caller has one reference. */
int neap__combine_new(neap_loop *loop, neap__combine_mode mode, neap_task *const *tasks,
                      size_t count, double seconds,
                      neap_task *(*follow)(neap__combine *, neap_task *), neap__combine **combine);

/* NULL when the task is not a combined one. */
neap__combine *neap__task_combine(const neap_task *task);

/* Settles what is on the loop's list of ended ones. */
void neap__combine_flush(neap_loop *loop);

#endif
