#include "fs.h"

#include <string.h>

/* ---- Life of an operation ------------------------------------------------------------------- */

static const neap__fs_kind *kind_of(const neap__fs *fs) {
  return NEAP__CONTAINER(neap__op_kind_of(&fs->job.op), const neap__fs_kind, op);
}

static int run(neap__job *job) {
  neap__fs *fs = (neap__fs *)job;
  return kind_of(fs)->run(fs);
}

static void finish(neap__job *job) {
  neap__fs *fs = (neap__fs *)job;
  kind_of(fs)->finish(fs);
}

int neap__fs_start(neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  op->error.path = fs->path;
  op->error.dest = fs->dest;
  fs->job.run = run;
  fs->job.finish = kind_of(fs)->finish ? finish : NULL;
  return neap__job_start(op);
}

void neap__fs_abort(neap__op *op) {
  atomic_store_explicit(&((neap__fs *)op)->is_stopped, true, memory_order_relaxed);
  neap__job_abort(op);
}

void neap__fs_release(neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  neap__memory *memory = &op->task.loop->memory;
  neap__job_free(&fs->job, fs->entries);
  neap__job_free(&fs->job, fs->result);
  if (fs->bytes)
    neap_bytes_unref(fs->bytes);
  else
    neap__memory_free(memory, fs->data);
  neap__memory_free(memory, fs->dest);
  neap__memory_free(memory, fs->path);
}

int neap__fs_set_result(neap__fs *fs, const char *result, size_t size) {
  char *copy = neap__job_resize(&fs->job, NULL, size + 1);
  if (!copy) return UV_ENOMEM;
  memcpy(copy, result, size);
  copy[size] = '\0';
  neap__job_free(&fs->job, fs->result);
  fs->result = copy;
  fs->size = size;
  return 0;
}

/* ---- Public -------------------------------------------------------------------------------- */

int neap_fs_read_file(neap_loop *loop, const char *path, neap_task **task) {
  neap__op *op = neap__op_new(loop, &neap__fs_read_file.op);
  if (!op) return UV_ENOMEM;
  ((neap__fs *)op)->path = neap__memory_copy(&loop->memory, path);
  if (!((neap__fs *)op)->path) {
    neap_task_unref(&op->task);
    return UV_ENOMEM;
  }
  neap__op_start(op);
  *task = &op->task;
  return 0;
}

const char *neap_fs_data(const neap_task *task, size_t *size) {
  if (task->kind != &neap__fs_read_file.op.task || task->status != NEAP_DONE) return NULL;
  const neap__fs *fs = (const neap__fs *)task;
  *size = fs->size;
  return fs->result;
}
