#include "support.h"

#include "ops/fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/neap_test_fs_XXXXXX";

/* Writes a file of `size` bytes; its name is `path`. */
static void make_file(size_t size) {
  strcpy(path, "/tmp/neap_test_fs_XXXXXX");
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

/* As on a system that cannot read without waiting. */
static neap_loop *open_pooled(bench *b) {
  neap_loop *loop = bench_open(b);
  loop->reads_in_pool = true;
  return loop;
}

static neap_task *read_file(neap_loop *loop, const char *name) {
  neap_task *task = NULL;
  CHECK(neap_fs_read_file(loop, name, &task) == 0);
  return task;
}

static void check_read_by(bool in_pool, size_t size) {
  bench b;
  neap_loop *loop = in_pool ? open_pooled(&b) : bench_open(&b);
  size_t got = 99;
  make_file(size);
  neap_task *task = read_file(loop, path);
  CHECK(!in_pool || neap_fs_data(task, &got) == NULL); /* not yet */
  CHECK(neap_loop_run(loop, task) == 0);
  const char *data = neap_fs_data(task, &got);
  CHECK(data != NULL && got == size);
  for (size_t i = 0; data && i < got; i++)
    if (!CHECK(data[i] == 'x')) break;
  CHECK(end_status(task) == NEAP_DONE);
  unlink(path);
  bench_close_idle(&b);
}

static void check_read(size_t size) {
  check_read_by(true, size);
  check_read_by(false, size);
}

TEST(a_file_is_read) {
  check_read(11);
}

TEST(an_empty_file_is_read) {
  check_read(0);
}

TEST(a_large_file_is_read) {
  check_read(1000000);
}

TEST(a_file_without_a_size_is_read) {
  bench b;
  neap_loop *loop = bench_open(&b);
  size_t size = 0;
  neap_task *task = read_file(loop, "/proc/self/status");
  CHECK(neap_loop_run(loop, task) == 0);
  CHECK(neap_fs_data(task, &size) != NULL && size > 0);
  neap_task_unref(task);
  bench_close_idle(&b);
}

static void check_failure(const char *name, int code, const char *syscall) {
  bench b;
  neap_loop *loop = bench_open(&b);
  size_t size;
  neap_task *task = read_file(loop, name);
  CHECK(neap_loop_run(loop, task) == 0);
  const neap_error *error = neap_task_error(task);
  if (CHECK(error != NULL)) {
    CHECK(error->code == code);
    CHECK(strcmp(error->syscall, syscall) == 0);
    CHECK(strcmp(error->path, name) == 0);
  }
  CHECK(neap_fs_data(task, &size) == NULL);
  CHECK(end_status(task) == NEAP_FAILED);
  bench_close_idle(&b);
}

TEST(a_missing_file_fails_with_its_path) {
  check_failure("/tmp/neap/there/is/none", UV_ENOENT, "open");
}

TEST(a_directory_fails) {
  check_failure("/tmp", UV_EISDIR, "read");
}

TEST(a_read_in_a_cancelled_scope_has_no_effect) {
  bench b;
  neap_loop *loop = bench_open(&b);
  CHECK(neap__node_cancel(&loop->root.node, NULL));
  neap_task *task = read_file(loop, "/etc/passwd");
  CHECK(neap_loop_stats(loop).operations == 0);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(a_cancelled_read_is_discarded_when_its_job_has_ended) {
  bench b;
  neap_loop *loop = open_pooled(&b);
  neap_task *task = read_file(loop, "/etc/passwd");
  CHECK(neap_task_cancel(task));
  CHECK(neap_task_status(task) == NEAP_CANCELLED);
  CHECK(neap_loop_stats(loop).operations == 1); /* still in the pool */
  for (int i = 0; i < 1000 && neap_loop_stats(loop).operations > 0; i++) neap_loop_step(loop);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
}

TEST(jobs_that_wait_for_a_thread_are_taken_off_the_queue) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_task *tasks[200];
  for (int i = 0; i < 200; i++) tasks[i] = read_file(loop, "/proc/self/status");
  for (int i = 0; i < 200; i++) CHECK(neap_task_cancel(tasks[i]));
  for (int i = 0; i < 200; i++) neap_task_unref(tasks[i]);
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  bench_close_idle(&b);
}

TEST(the_loop_closes_while_files_are_read) {
  bench b;
  neap_loop *loop = open_pooled(&b);
  neap_task *held = read_file(loop, "/etc/passwd");
  for (int i = 0; i < 50; i++) neap_task_unref(read_file(loop, "/etc/passwd"));
  neap_loop_close(loop);
  CHECK(end_status(held) == NEAP_CANCELLED);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(data_stays_readable_after_the_loop_has_closed) {
  bench b;
  neap_loop *loop = bench_open(&b);
  size_t size = 0;
  make_file(3);
  neap_task *task = read_file(loop, path);
  CHECK(neap_loop_run(loop, task) == 0);
  neap_loop_close(loop);
  CHECK(memcmp(neap_fs_data(task, &size), "xxx", 3) == 0 && size == 3);
  neap_task_unref(task);
  unlink(path);
  CHECK(atomic_load(&b.memory.live) == 0);
}

static void check_failing_allocations(neap_loop *loop) {
  bool fired = true;
  for (unsigned long n = 1; fired && n < 20; n++) {
    neap_task *task = NULL;
    neap_loop_fail_allocation(loop, n, false);
    int code = neap_fs_read_file(loop, "/etc/passwd", &task);
    fired = neap_loop_fail_allocation(loop, 0, false);
    CHECK(code == 0 || code == UV_ENOMEM);
    if (!task) continue;
    CHECK(neap_loop_run(loop, task) == 0);
    CHECK(end_status(task) == (fired ? NEAP_FAILED : NEAP_DONE));
  }
  CHECK(!fired);
}

TEST(each_failing_allocation_of_a_read_is_an_error) {
  bench b;
  check_failing_allocations(bench_open(&b));
  bench_close_idle(&b);
  check_failing_allocations(open_pooled(&b));
  bench_close_idle(&b);
}

/* ---- Read on the loop's thread -------------------------------------------------------------- */

/* Whether a file of `size` bytes that is cached is. */
static bool reads_on_the_spot(size_t size) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_file(size);
  neap_task *task = read_file(loop, path);
  bool is_done = neap_task_status(task) == NEAP_DONE;
  CHECK(neap_loop_run(loop, task) == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
  unlink(path);
  return is_done;
}

TEST(a_small_cached_file_is_there_at_once) {
  if (!reads_on_the_spot(4096)) return; /* an old kernel, or another system */
  CHECK(reads_on_the_spot(65536));
  CHECK(!reads_on_the_spot(65537)); /* not a large one */
}

/* After 2 MiB the loop looks at its I/O; those that come later wait for that. */
TEST(reads_on_the_spot_give_way) {
  bench b;
  neap_task *tasks[1000];
  int done = 0;
  if (!reads_on_the_spot(4096)) return;
  make_file(4096);
  neap_loop *loop = bench_open(&b);
  for (int i = 0; i < 1000; i++) {
    tasks[i] = read_file(loop, path);
    done += neap_task_status(tasks[i]) == NEAP_DONE;
  }
  CHECK(done == 256);
  CHECK(neap_task_cancel(tasks[500]));
  CHECK(neap_task_status(tasks[500]) == NEAP_CANCELLED);
  for (int i = 0; i < 1000; i++) {
    CHECK(neap_loop_run(loop, tasks[i]) == 0);
    CHECK(end_status(tasks[i]) == (i == 500 ? NEAP_CANCELLED : NEAP_DONE));
  }
  bench_close_idle(&b);
  unlink(path);
}

TEST(the_loop_closes_while_reads_wait_for_their_turn) {
  bench b;
  neap_loop *loop = bench_open(&b);
  for (int i = 0; i < 1000; i++) neap_task_unref(read_file(loop, "/etc/passwd"));
  neap_loop_close(loop);
  CHECK(atomic_load(&b.memory.live) == 0);
}

/* ---- Named pipes: nothing waits for a writer but the pool ---------------------------------------- */

static void make_pipe(void) {
  make_file(0);
  unlink(path);
  CHECK(mkfifo(path, 0600) == 0);
}

TEST(a_named_pipe_is_read_when_its_writer_comes) {
  bench b;
  size_t size = 0;
  neap_loop *loop = bench_open(&b);
  make_pipe();
  neap_task *task = read_file(loop, path);
  CHECK(neap_task_status(task) == NEAP_PENDING);
  int writer = open(path, O_WRONLY); /* comes back when there is a reader */
  CHECK(write(writer, "text", 4) == 4 && close(writer) == 0);
  CHECK(neap_loop_run(loop, task) == 0);
  const char *data = neap_fs_data(task, &size);
  CHECK(data && size == 4 && memcmp(data, "text", 4) == 0);
  neap_task_unref(task);
  bench_close_idle(&b);
  unlink(path);
}

TEST(a_read_of_a_pipe_without_a_writer_can_be_cancelled) {
  bench b;
  neap_loop *loop = bench_open(&b);
  make_pipe();
  neap_task *task = read_file(loop, path);
  for (int i = 0; i < 3; i++) neap_loop_step(loop);
  CHECK(neap_task_cancel(task));
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  CHECK(end_status(task) == NEAP_CANCELLED);
  bench_close_idle(&b);
  unlink(path);
}
