/* Operations that are one blocking function, run by libuv's thread pool. */
#ifndef NEAP_OPS_JOB_H
#define NEAP_OPS_JOB_H

#include "../op.h"

typedef struct neap__job neap__job;
struct neap__job {
  neap__op op;
  uv_work_t work;
  /* Thread: the pool's. Works on the job's own memory only and returns 0 or a negative code; may set
   * op.error.syscall to a static string. */
  int (*run)(neap__job *job);
  /* On the loop's thread, before it settles, also when it was cancelled. May be NULL. */
  void (*finish)(neap__job *job);
  int code;
};

/* What the kind of a job uses as its start and abort. */
int neap__job_start(neap__op *op);
void neap__job_abort(neap__op *op);

/* The result of a run whose system call has set errno. Thread: any. */
int neap__job_fail(neap__job *job, const char *syscall);

/* Memory for a job's results. Thread: any. Free it with neap__job_free. */
void *neap__job_resize(neap__job *job, void *block, size_t size);
void neap__job_free(neap__job *job, void *block);

#endif
