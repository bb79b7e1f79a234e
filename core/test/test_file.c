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
  } else
    self->path = neap__memory_copy(&loop->memory, path);
  neap__op_start(&self->job.op);
  return self;
}

static neap_status finish(neap_loop *loop, neap_task *task) {
  CHECK(neap_loop_run(loop, task) == 0);
  return end_status(task);
}

static neap__file *open_file(neap_loop *loop) {
  neap__file_op *self = start_op(loop, &neap__file_open_kind, NULL);
  CHECK(neap_loop_run(loop, &self->job.op.task) == 0);
  neap__file *file = neap__file_take(self);
  CHECK(file != NULL);
  neap_task_unref(&self->job.op.task);
  return file;
}

static neap_task *start_read(neap__file *file, size_t size) {
  neap__read *self = (neap__read *)neap__op_new(file->loop, &neap__read_kind);
  self->reader = &file->reader;
  self->size = size;
  file->refs++;
  neap__op_start(&self->op);
  return &self->op.task;
}

/* With and without the page cache's help. */
static void check_reads(bool is_uncached) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  file->is_uncached = is_uncached;
  CHECK(finish(loop, start_read(file, 4)) == NEAP_DONE);
  CHECK(neap__file_position(file) == 4);
  CHECK(finish(loop, start_read(file, 4)) == NEAP_DONE);
  CHECK(neap__file_position(file) == 6);
  neap__file_op *closing = start_op(loop, &neap__file_close_kind, file);
  CHECK(finish(loop, &closing->job.op.task) == NEAP_DONE);
  CHECK(finish(loop, start_read(file, 4)) == NEAP_FAILED);
  neap__file_unref(file);
  unlink(path);
  bench_close_idle(&b);
}

TEST(reads_of_an_open_file_go_on_where_the_last_one_ended) {
  check_reads(false);
}

TEST(reads_in_the_pool_go_on_where_the_last_one_ended) {
  check_reads(true);
}

TEST(what_a_cancelled_read_has_fetched_is_for_the_next) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  file->is_uncached = true;
  neap_task *read = start_read(file, 4);
  CHECK(neap_task_cancel(read));
  neap_task_unref(read);
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  CHECK(neap__file_position(file) == 0 && file->busy == 0);
  read = start_read(file, 9);
  CHECK(((neap__read *)read)->length == 4);
  neap_task_unref(read);
  CHECK(neap__file_position(file) == 4);
  neap__file_unref(file);
  unlink(path);
  bench_close_idle(&b);
}

/* The end that a cancelled read has met is not that of the next one, which reads elsewhere. */
TEST(the_end_of_a_cancelled_read_is_not_that_of_the_next) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  file->is_uncached = true;
  neap__file_move(file, 6);
  neap_task *read = start_read(file, 4);
  CHECK(neap_task_cancel(read));
  neap_task_unref(read);
  neap__file_move(file, 2);
  read = start_read(file, 9);
  CHECK(neap_loop_run(loop, read) == 0);
  CHECK(((neap__read *)read)->length == 4 && !((neap__read *)read)->is_end);
  neap_task_unref(read);
  neap__file_unref(file);
  unlink(path);
  bench_close_idle(&b);
}

TEST(a_read_that_waits_goes_on_where_the_file_was_moved_to) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  file->is_uncached = true;
  neap_task *read = start_read(file, 9);
  neap__file_move(file, 3);
  CHECK(neap_loop_run(loop, read) == 0);
  CHECK(((neap__read *)read)->length == 3);
  neap_task_unref(read);
  CHECK(neap__file_position(file) == 6);
  neap__file_unref(file);
  unlink(path);
  bench_close_idle(&b);
}

TEST(a_close_without_memory_for_its_job_closes_and_ends) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(6);
  neap__file *file = open_file(loop);
  neap__file_op *self = (neap__file_op *)neap__op_new(loop, &neap__file_close_kind);
  self->file = file;
  file->refs++;
  neap_loop_fail_allocation(loop, 1, false);
  neap__op_start(&self->job.op);
  CHECK(end_status(&self->job.op.task) == NEAP_DONE);
  CHECK(file->fd == -1);
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
  file->is_uncached = true;
  neap_task_unref(start_read(file, 4));
  neap_loop_close(loop);
  CHECK(file->fd == -1);
  neap__file_unref(file);
  unlink(path);
  CHECK(atomic_load(&b.memory.live) == 0);
}
