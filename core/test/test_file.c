#include "support.h"

#include "ops/file.h"

#include <unistd.h>

static char path[] = "/tmp/neap_test_file_XXXXXX";

/* Writes a file of `size` bytes; its name is `path`. */
static void make_file(size_t size) {
  strcpy(path, "/tmp/neap_test_file_XXXXXX");
  int fd = mkstemp(path);
  char block[1000];
  memset(block, 'x', sizeof block);
  for (size_t left = size; fd >= 0 && left > 0;) {
    ssize_t n = write(fd, block, left < sizeof block ? left : sizeof block);
    if (!CHECK(n > 0)) break;
    left -= (size_t)n;
  }
  CHECK(fd >= 0 && close(fd) == 0);
}

static neap__file_op *start_op(neap_loop *loop, const neap__op_kind *kind, neap__file *file) {
  neap__file_op *self = (neap__file_op *)neap__op_new(loop, kind);
  if (file) {
    file->refs++;
    self->file = file;
    self->size = 4;
  } else
    self->path = neap__memory_copy(&loop->memory, path);
  neap__op_start(&self->job.op);
  return self;
}

static neap_status finish_op(neap_loop *loop, neap__file_op *self) {
  CHECK(neap_loop_run(loop, &self->job.op.task) == 0);
  return end_status(&self->job.op.task);
}

static neap__file *open_file(neap_loop *loop) {
  neap__file_op *self = start_op(loop, &neap__file_open_kind, NULL);
  CHECK(neap_loop_run(loop, &self->job.op.task) == 0);
  neap__file *file = neap__file_take(self);
  CHECK(file != NULL);
  neap_task_unref(&self->job.op.task);
  return file;
}

TEST(reads_of_an_open_file_go_on_where_the_last_one_ended) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  CHECK(finish_op(loop, start_op(loop, &neap__file_read_kind, file)) == NEAP_DONE);
  CHECK(file->position == 4);
  CHECK(finish_op(loop, start_op(loop, &neap__file_read_kind, file)) == NEAP_DONE);
  CHECK(file->position == 6);
  CHECK(finish_op(loop, start_op(loop, &neap__file_close_kind, file)) == NEAP_DONE);
  CHECK(finish_op(loop, start_op(loop, &neap__file_read_kind, file)) == NEAP_FAILED);
  neap__file_unref(file);
  unlink(path);
  bench_close_idle(&b);
}

TEST(a_cancelled_read_of_an_open_file_does_not_move_it) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  neap__file_op *read = start_op(loop, &neap__file_read_kind, file);
  CHECK(neap_task_cancel(&read->job.op.task));
  neap_task_unref(&read->job.op.task);
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  CHECK(file->position == 0 && file->busy == 0);
  neap__file_unref(file);
  unlink(path);
  bench_close_idle(&b);
}

TEST(a_file_that_was_opened_for_nobody_is_closed) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(1);
  int before = dup(0);
  close(before);
  neap__file_op *self = start_op(loop, &neap__file_open_kind, NULL);
  CHECK(neap_task_cancel(&self->job.op.task));
  neap_task_unref(&self->job.op.task);
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  int after = dup(0);
  close(after);
  CHECK(before == after); /* no descriptor was left open */
  unlink(path);
  bench_close_idle(&b);
}

TEST(the_loop_closes_with_an_open_file_that_is_read) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  neap__file_op *read = start_op(loop, &neap__file_read_kind, file);
  neap_task_unref(&read->job.op.task);
  neap_loop_close(loop);
  CHECK(file->fd == -1);
  neap__file_unref(file);
  unlink(path);
  CHECK(atomic_load(&b.memory.live) == 0);
}
