/* The Lua state that a thread of a pool keeps for the jobs that it runs, one after the other.
 *
 * It is made when the thread gets its first job. Each job has an environment of its own: a table that takes
 * what the job assigns, and copies from the globals what the job looks up, once. Globals that the functions
 * of modules create are removed after the job; modules stay loaded. After a job that has run out of memory
 * the state is closed, and the next job gets another one. */
#ifndef NEAPLUA_WORKER_STATE_H
#define NEAPLUA_WORKER_STATE_H

#include "builtin.h"
#include "interruption.h"
#include "transfer.h"

/* What the states of workers take over from the state that uses them. Shared by its jobs, since an abandoned
 * one may outlive it. Thread: any; constant. */
typedef struct neapL__origin {
  atomic_size_t refs;
  int signal; /* that interrupts jobs */
  char *path, *cpath;
  neapL__preloads *preloads;
} neapL__origin;

/* The state's, made anew when package.path or cpath has changed. Borrowed. [-0, +0, m] */
neapL__origin *neapL__origin_now(lua_State *L, neapL__state *state);
neapL__origin *neapL__origin_ref(neapL__origin *origin);
void neapL__origin_unref(neapL__origin *origin);

/* One call on another thread. Between start and end only that thread touches it, but for `target`. */
typedef struct neapL__job {
  neapL__message call;    /* a function, or "module.function", and its arguments */
  neapL__message outcome; /* its results; or, where it has failed, the error and a traceback */
  neapL__origin *origin;
  _Atomic(neapL__interruption *) target; /* of the thread that runs it; NULL: not yet */
  bool has_loop;
  bool has_failed;
} neapL__job;

/* Runs a job on this thread. 0, also if it has failed; UV_ECANCELED: it was interrupted; UV_ENOMEM. */
int neapL__job_run(neap_work *work, neapL__job *job);

#endif
