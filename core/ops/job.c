#include "job.h"

#include "../loop.h"

#include <errno.h>

static void on_work(uv_work_t *work) {
  neap__job *job = NEAP__CONTAINER(work, neap__job, work);
  job->code = job->run(job);
}

static void on_finish(uv_work_t *work, int status) {
  neap__job *job = NEAP__CONTAINER(work, neap__job, work);
  if (status < 0) job->code = status; /* taken off the pool's queue */
  if (job->finish) job->finish(job);
  neap__op_settle(&job->op, job->code);
  neap__op_release_native(&job->op);
}

int neap__job_start(neap__op *op) {
  neap__job *job = (neap__job *)op;
  /* What the pool's thread allocates is not counted; let tests fail it here. */
  if (neap__memory_must_fail(&op->task.loop->memory)) return UV_ENOMEM;
  int code = uv_queue_work(op->task.loop->uv, &job->work, on_work, on_finish);
  if (!code) neap__op_acquire_native(op, true);
  return code;
}

void neap__job_abort(neap__op *op) {
  uv_cancel((uv_req_t *)&((neap__job *)op)->work); /* fails once it runs; then it runs out */
}

int neap__job_fail(neap__job *job, const char *syscall) {
  job->op.error.syscall = syscall;
  return -errno;
}

void *neap__job_resize(neap__job *job, void *block, size_t size) {
  const neap__memory *memory = &job->op.task.loop->memory;
  return memory->allocate(memory->data, block, size);
}

void neap__job_free(neap__job *job, void *block) {
  if (block) neap__job_resize(job, block, 0);
}
