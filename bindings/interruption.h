/* Stopping a job that computes, without any cost to one that is not stopped.
 *
 * The thread that runs it gets a signal; the handler, on that thread, arms a hook in the coroutine that runs
 * there, as lua.c does on Ctrl-C; the hook raises a Cancelled object. A job that catches it has some time
 * for its handlers of <close>; then it is raised at every instruction. A job with a loop is another matter:
 * its main task is cancelled, and only if the loop does not come to that it is interrupted too.
 *
 * Where a signal cannot carry a pointer, a hook is armed all the time and looks now and then: twice the
 * cost. */
#ifndef NEAPLUA_INTERRUPTION_H
#define NEAPLUA_INTERRUPTION_H

#include "../core/ops/work.h"
#include "state.h"

typedef struct neapL__interruption neapL__interruption;

/* One for each thread of a pool; it outlives the Lua states that the thread may have in turn, for a signal may
 * be late. Thread: its own. Invariant: `work` is not NULL while a job runs. */
struct neapL__interruption {
  neapL__state *volatile state;
  neap_work *work;
  int error_ref;      /* what the hook raises */
  uint64_t first_at;  /* in nanoseconds: when the hook ran first; 0: not yet */
  uint64_t raised_at; /* and when it raised first */
  neap__post post;    /* to the loop of the state: cancels the main task */
  atomic_bool is_posted;
  bool is_delivered; /* ... it has come to that */
  bool is_told;      /* the main task was cancelled, by that or by the hook */
  bool has_loop;
};

/* The signal that is used for it in this process, with its handler set; 0: there is none. Thread: any. */
int neapL__interruption_signal(void);

/* Lets the signal through to this thread, or no more. */
void neapL__interruption_admit(int number, bool is_admitted);

/* Prepares a new Lua state: keeps `self` in it and follows its coroutines. [-0, +0, m] */
void neapL__interruption_open(lua_State *L, neapL__interruption *self, neapL__state *state);

/* `thread` is what runs from now on: interrupts it, if the job is. [-0, +0, -] */
void neapL__interruption_renew(neapL__interruption *self, lua_State *thread);

/* From now on `thread` is what runs; NULL: nothing that could be interrupted. What is asked before it is set
 * is seen here; the signal for what is asked later finds it. */
static inline void neapL__follow(neapL__state *state, lua_State *thread) {
  state->resumed = thread;
  if (state->interruption) neapL__interruption_renew(state->interruption, thread);
}

/* Around a job, outside of protected calls. */
void neapL__interruption_begin(neapL__interruption *self, lua_State *L, neap_work *work,
                               bool has_loop);
void neapL__interruption_end(neapL__interruption *self);

/* Whether the error at `index` is the one that the hook raises. */
bool neapL__is_interruption(lua_State *L, const neapL__interruption *self, int index);

/* Interrupts what that thread runs. Thread: the one that cancels, while the pool keeps the job running. */
void neapL__interrupt(neapL__interruption *self, uv_thread_t thread, int number, bool has_loop);

#endif
