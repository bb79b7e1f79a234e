/* The loop: turns, time, and libuv underneath. */
#ifndef NEAP_LOOP_H
#define NEAP_LOOP_H

#include "clock.h"
#include "inbox.h"
#include "ready.h"
#include "scope.h"
#include "timer.h"

/* What a language binding adds, until the loop is closed. All may be NULL. */
typedef struct neap__hooks {
  void *data;
  /* A task with task->host != 0 has settled. */
  void (*settled)(void *data, neap_task *task);
  /* What the host kept for a cause, a token or an embedded operation (`host` != 0) is not needed any
   * more. */
  void (*release)(void *data, uint32_t host);
  /* Calls neap__loop_turns, from a callback of libuv, which nothing may leave by a jump. */
  void (*turns)(void *data);
} neap__hooks;

/* Something that the loop must close when it ends: a socket, an open file. */
typedef struct neap__resource neap__resource;
struct neap__resource {
  neap__list link;
  void (*close)(neap__resource *resource); /* starts to close; unlinks it */
  bool is_standing;                        /* it is there as long as the loop, and no leak */
};

struct neap_loop {
  neap__memory memory;
  uv_loop_t *uv;
  neap__ready ready;
  neap__timers timers;
  neap_clock *clock;
  neap_clock monotonic;
  neap__routine *current; /* the task that runs now, or NULL */
  neap_scope root;        /* owns what is started outside all other scopes */
  neap__list ended;       /* combined tasks whose elements decide it; settled flat */
  neap__list dead;        /* combined tasks without references; freed flat */
  neap__list resources;
  neap__list watchers; /* operations that wait until nothing is ready */
  neap__list works;    /* operations with work on other threads */
  neap_pool *pool;     /* for work that names none; NULL: not made yet */
  size_t threads;      /* of it; 0: as many as there are processors */
  neap_inbox *inbox;
  neap__hooks hooks;
  void *data;        /* the host's */
  char *read_buffer; /* where sockets are read into; made when first needed */
  uint64_t last_id;
  size_t anchors;    /* tasks and handles that keep this memory, and 1 while it is open */
  size_t tasks;      /* routines that have not ended */
  size_t operations; /* pending, or with libuv */
  size_t jobs;       /* operations in the thread pool: they end by themselves */
  size_t scopes;     /* open explicit scopes */
  size_t holds;
  size_t arrivals;        /* of bytes that filters were given: progress that makes no task ready */
  uint64_t memory_device; /* the last file system seen whose files are memory; 0: none */
  size_t spot_cost; /* of the files that were read on this thread since the last look at I/O */
  uv_timer_t alarm; /* wakes libuv for the next deadline; holds a reference only while armed */
  uv_prepare_t prepare;
  uv_check_t check;
  uv_loop_t own;
  double alarm_deadline;
  bool owns_uv;    /* and closes it */
  bool is_shared;  /* others use it and run it, too */
  bool is_polling; /* uv_run, called by us */
  bool is_settling, is_freeing;
  bool is_turning;
  bool is_closing;
  bool reads_in_pool; /* the system cannot read files without waiting; and for tests */
};

enum {
  /* Turns without a look at I/O. A yield and its turn take 260 ns; a look costs 25 ns more where
   * libuv has nothing to look at, and a system call where it has. */
  NEAP__TURNS_PER_POLL = 32,
  /* ... and no more than this many runs, so that I/O is not late when turns are long. */
  NEAP__RUNS_PER_POLL = 1024,
  /* ... and no more than this many bytes of files, each counted with 4 KiB more, that are read without
   * a thread of the pool: 256 files of 4 KiB take 1 ms. */
  NEAP__SPOT_COST_PER_POLL = 2 * 1024 * 1024
};

static inline double neap__loop_now(neap_loop *loop) {
  return loop->clock->now(loop->clock);
}

/* Queues what is to run, and arms a timer (UV_ENOMEM). */
void neap__loop_ready(neap_loop *loop, neap__runnable *runnable);
int neap__loop_arm(neap_loop *loop, neap__timer *timer, double deadline);

/* Whether something that the loop has called is under way: then it is not to be run. */
static inline bool neap__loop_is_running(const neap_loop *loop) {
  return loop->current || loop->is_turning || loop->is_polling || loop->inbox->is_calling;
}

/* After an error that has left what the loop had called. */
static inline void neap__loop_recover(neap_loop *loop) {
  loop->is_turning = loop->is_polling = loop->inbox->is_calling = false;
  loop->current = NULL;
}

/* Runs turns until nothing is ready, or it is time to look at I/O. */
void neap__loop_turns(neap_loop *loop);

/* What follows the turns in a step: looks at I/O, or waits for it or for the next deadline. */
neap_progress neap__loop_wait(neap_loop *loop);

/* The same, for `seconds` at most; HUGE_VAL: as long as it takes. */
neap_progress neap__loop_poll(neap_loop *loop, double seconds);

/* What is on its way to its end gets there: closing handles, cancelled jobs, queued callbacks. Gives
 * up on jobs that do not end soon. */
void neap__loop_calm_down(neap_loop *loop);

/* Lets libuv look at its handles once, without a turn of ours. */
void neap__loop_drain(neap_loop *loop, bool waits);

/* From now on others use and run libuv's loop, too: it keeps them alive, and they run our turns. */
void neap__loop_share(neap_loop *loop);

/* Moves to another loop of libuv, which is ours to close with `owns_uv`. UV_EBUSY: handles or requests are
 * on the one that it has; nothing has changed then, nor with another code (of uv_async_init). */
int neap__loop_move(neap_loop *loop, uv_loop_t *uv, bool owns_uv);

/* The memory of the loop stays while there are anchors. */
static inline void neap__loop_anchor(neap_loop *loop) {
  loop->anchors++;
}
void neap__loop_unanchor(neap_loop *loop);

#endif
