#include "support.h"

#include "ops/connect.h"
#include "ops/listen.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static neap__listen *new_listen(neap_loop *loop, const char *host, const char *path) {
  neap__listen *self = (neap__listen *)neap__op_new(loop, &neap__listen_kind);
  if (host) self->endpoint.host = neap__memory_copy(&loop->memory, host);
  if (path) self->endpoint.path = neap__memory_copy(&loop->memory, path);
  self->backlog = 16;
  self->mode = -1;
  return self;
}

static neap__server *take(neap__listen *self) {
  neap__op_start(&self->op);
  CHECK(neap_loop_run(self->op.task.loop, &self->op.task) == 0);
  CHECK(neap_task_status(&self->op.task) == NEAP_DONE);
  neap__server *server = neap__listen_take(self);
  neap_task_unref(&self->op.task);
  return server;
}

static void drop(neap__stream *stream) {
  if (!CHECK(stream != NULL)) return;
  neap__stream_close(stream);
  neap__stream_unref(stream);
}

static neap__accept *start_accept(neap__server *server, bool ends) {
  neap__accept *self = (neap__accept *)neap__op_new(server->stream.loop, &neap__accept_kind);
  self->server = server;
  self->ends = ends;
  server->stream.refs++;
  neap__op_start(&self->op);
  return self;
}

static int code_of(neap__accept *self) {
  const neap_error *error = neap_task_error(&self->op.task);
  int code = error ? error->code : 0;
  neap_task_unref(&self->op.task);
  return code;
}

static neap__stream *connect_to(neap__server *server) {
  neap_loop *loop = server->stream.loop;
  neap__address address;
  CHECK(neap__stream_address(&server->stream, false, &address) == 0);
  neap__connect *self = (neap__connect *)neap__op_new(loop, &neap__connect_kind);
  self->endpoint.host = neap__memory_copy(&loop->memory, address.host);
  self->endpoint.port = address.port;
  neap__op_start(&self->op);
  CHECK(neap_loop_run(loop, &self->op.task) == 0);
  neap__stream *stream = neap__connect_take(self);
  neap_task_unref(&self->op.task);
  return stream;
}

static void accept_one(neap__server *server) {
  neap__accept *self = start_accept(server, false);
  CHECK(neap_loop_run(server->stream.loop, &self->op.task) == 0);
  CHECK(neap_task_status(&self->op.task) == NEAP_DONE);
  drop(neap__accept_take(self));
  neap_task_unref(&self->op.task);
}

/* Nobody can open another descriptor; returns how many were allowed. */
static rlim_t exhaust_descriptors(void) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = 0; /* what is open stays open */
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  return before;
}

static void allow_descriptors(rlim_t n) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = n;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

TEST(without_descriptors_an_accept_fails_and_the_connection_waits) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__server *server = take(new_listen(loop, "127.0.0.1", NULL));
  neap__stream *client = connect_to(server);
  rlim_t before = exhaust_descriptors();
  neap__accept *self = start_accept(server, false);
  CHECK(neap_loop_run(loop, &self->op.task) == 0);
  CHECK(strcmp(neap_task_error(&self->op.task)->syscall, "accept") == 0);
  CHECK(code_of(self) == UV_EMFILE);
  allow_descriptors(before);
  accept_one(server);
  drop(client);
  drop(&server->stream);
  bench_close(&b);
}

TEST(accepts_that_are_cancelled_lose_no_connection) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__server *server = take(new_listen(loop, "127.0.0.1", NULL));
  neap__accept *cancelled = start_accept(server, false), *other = start_accept(server, false);
  CHECK(neap_task_cancel(&cancelled->op.task));
  neap_task_unref(&cancelled->op.task);
  neap__stream *client = connect_to(server);
  CHECK(neap_loop_run(loop, &other->op.task) == 0);
  CHECK(code_of(other) == 0); /* and nobody takes what it has: it is closed */
  drop(client);
  drop(&server->stream);
  bench_close(&b);
}

TEST(without_memory_a_connection_waits_for_the_next_accept) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__server *server = take(new_listen(loop, "127.0.0.1", NULL));
  neap__stream *client = connect_to(server);
  for (int i = 0; i < 3; i++) neap_loop_step(loop);
  neap__accept *self = (neap__accept *)neap__op_new(loop, &neap__accept_kind);
  self->server = server;
  server->stream.refs++;
  neap_loop_fail_allocation(loop, 1, false);
  neap__op_start(&self->op);
  CHECK(code_of(self) == UV_ENOMEM);
  accept_one(server);
  drop(client);
  drop(&server->stream);
  bench_close(&b);
}

TEST(accepts_of_a_closed_server_end) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__server *server = take(new_listen(loop, "*", NULL));
  neap__accept *plain = start_accept(server, false), *ending = start_accept(server, true);
  neap__stream_close(&server->stream);
  CHECK(code_of(plain) == NEAP_ECLOSED);
  CHECK(!ending->stream && code_of(ending) == 0);
  CHECK(code_of(start_accept(server, false)) == NEAP_ECLOSED);
  CHECK(code_of(start_accept(server, true)) == 0);
  neap__stream_unref(&server->stream);
  bench_close(&b);
}

static const char path[] = "/tmp/neap_test_listen";

static bool is_there(void) {
  struct stat info;
  return lstat(path, &info) == 0;
}

TEST(the_loop_removes_the_path_when_it_closes) {
  bench b;
  unlink(path);
  neap_loop *loop = bench_open(&b);
  neap__server *server = take(new_listen(loop, NULL, path));
  neap__accept *accepting = start_accept(server, false);
  CHECK(is_there());
  neap_loop_close(loop);
  CHECK(!is_there());
  CHECK(end_status(&accepting->op.task) == NEAP_CANCELLED);
  neap__stream_unref(&server->stream);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(a_listen_without_memory_leaves_no_path) {
  for (unsigned long n = 1; n < 8; n++) {
    bench b;
    unlink(path);
    neap_loop *loop = bench_open(&b);
    neap__listen *self = new_listen(loop, NULL, path);
    self->mode = 0600;
    neap_loop_fail_allocation(loop, n, false);
    neap__op_start(&self->op);
    bool is_done = neap_task_status(&self->op.task) == NEAP_DONE;
    CHECK(is_done == !neap_loop_fail_allocation(loop, 0, false));
    CHECK(is_done == is_there());
    neap_task_unref(&self->op.task);
    CHECK(!is_there());
    bench_close(&b);
  }
}

/* A server that nobody has taken from its operation. */
TEST(a_server_for_nobody_is_closed) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__listen *self = new_listen(loop, "localhost", NULL);
  neap__op_start(&self->op);
  CHECK(neap_loop_run(loop, &self->op.task) == 0);
  CHECK(neap_task_status(&self->op.task) == NEAP_DONE);
  neap_task_unref(&self->op.task);
  CHECK(neap__list_is_empty(&loop->resources));
  bench_close(&b);
}

TEST(the_loop_closes_while_a_name_is_looked_up) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__listen *self = new_listen(loop, "localhost", NULL);
  neap__op_start(&self->op);
  neap_loop_close(loop);
  CHECK(end_status(&self->op.task) == NEAP_CANCELLED);
  CHECK(atomic_load(&b.memory.live) == 0);
}
