#include "support.h"

#include "ops/fs.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/neap_test_fs_tree_XXXXXX";

static bool make_root(void) {
  strcpy(root, "/tmp/neap_test_fs_tree_XXXXXX");
  return CHECK(mkdtemp(root) != NULL);
}

/* Starts a removal of the tree; the caller owns a reference. */
static neap__fs *start_removal(neap_loop *loop) {
  neap__op *op = neap__op_new(loop, &neap__fs_remove.op);
  neap__fs *fs = (neap__fs *)op;
  fs->path = neap__memory_copy(&loop->memory, root);
  fs->flags = NEAP__FS_RECURSIVE;
  neap__op_start(op);
  return fs;
}

static void make_file(int dir, const char *name) {
  int fd = openat(dir, name, O_WRONLY | O_CREAT, 0600);
  CHECK(fd >= 0 && close(fd) == 0);
}

/* Directories in each other, each with a file: deeper than any path can be long. */
static void make_deep(int levels) {
  int dir = open(root, O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < levels && CHECK(dir >= 0); i++) {
    make_file(dir, "file");
    CHECK(mkdirat(dir, "directory", 0700) == 0);
    int next = openat(dir, "directory", O_RDONLY | O_DIRECTORY);
    close(dir);
    dir = next;
  }
  close(dir);
}

static void make_wide(int files) {
  char name[32];
  int dir = open(root, O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < files; i++) {
    snprintf(name, sizeof name, "file%d", i);
    make_file(dir, name);
  }
  close(dir);
}

static int count_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 1000; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static void remove_root(void) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__fs *fs = start_removal(loop);
  CHECK(neap_loop_run(loop, &fs->job.op.task) == 0);
  CHECK(fs->job.op.error.code == 0);
  CHECK(end_status(&fs->job.op.task) == NEAP_DONE);
  CHECK(access(root, F_OK) != 0);
  bench_close_idle(&b);
}

TEST(a_tree_of_5000_levels_needs_few_descriptors) {
  struct rlimit limit, few;
  if (!make_root()) return;
  remove_root(); /* libuv keeps what it opens for the first loop */
  if (!make_root()) return;
  make_deep(5000);
  int before = count_descriptors();
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  few = limit;
  few.rlim_cur = (rlim_t)before + 40; /* the loop's own among them */
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  remove_root();
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(count_descriptors() == before);
}

/* tsan: the flag that stops the job is set on the loop's thread. */
TEST(a_cancelled_removal_stops_at_once) {
  bench b;
  if (!make_root()) return;
  make_wide(20000);
  int before = count_descriptors();
  neap_loop *loop = bench_open(&b);
  neap__fs *fs = start_removal(loop);
  usleep(2000); /* the pool's thread is at work */
  CHECK(neap_task_cancel(&fs->job.op.task));
  CHECK(neap_task_status(&fs->job.op.task) == NEAP_CANCELLED);
  while (neap_loop_stats(loop).operations > 0) neap_loop_step(loop);
  CHECK(access(root, F_OK) == 0); /* it was not done to the end */
  CHECK(end_status(&fs->job.op.task) == NEAP_CANCELLED);
  bench_close_idle(&b);
  CHECK(count_descriptors() == before);
  remove_root();
}

TEST(the_loop_closes_while_a_tree_is_removed) {
  bench b;
  if (!make_root()) return;
  make_wide(2000);
  neap_loop *loop = bench_open(&b);
  neap_task_unref(&start_removal(loop)->job.op.task);
  neap_loop_close(loop);
  CHECK(atomic_load(&b.memory.live) == 0);
  if (access(root, F_OK) == 0) remove_root();
}

TEST(an_error_names_the_entry_that_it_concerns) {
  bench b;
  char inner[64];
  if (geteuid() == 0 || !make_root()) return; /* root may do everything */
  make_deep(2);
  snprintf(inner, sizeof inner, "%s/directory", root);
  CHECK(chmod(inner, 0500) == 0);
  neap_loop *loop = bench_open(&b);
  neap__fs *fs = start_removal(loop);
  CHECK(neap_loop_run(loop, &fs->job.op.task) == 0);
  const neap_error *error = neap_task_error(&fs->job.op.task);
  CHECK(error && error->code == UV_EACCES && strncmp(error->path, inner, strlen(inner)) == 0);
  neap_task_unref(&fs->job.op.task);
  bench_close_idle(&b);
  CHECK(chmod(inner, 0700) == 0);
  remove_root();
}
