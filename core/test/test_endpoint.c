#include "support.h"

#include "ops/connect.h"
#include "ops/endpoint.h"

#include <stddef.h>

/* ---- Paths ------------------------------------------------------------------------------------- */

static int read_path(const char *path, struct sockaddr_un *name, socklen_t *length) {
  neap__endpoint endpoint = {.path = (char *)(uintptr_t)path};
  return neap__endpoint_path(&endpoint, name, length);
}

static const socklen_t header = offsetof(struct sockaddr_un, sun_path);

TEST(a_path_has_its_nul) {
  struct sockaddr_un name;
  socklen_t length;
  CHECK(read_path("/tmp/s", &name, &length) == 0);
  CHECK(name.sun_family == AF_UNIX && strcmp(name.sun_path, "/tmp/s") == 0);
  CHECK(length == header + 7);
}

TEST(an_abstract_name_has_none) {
  struct sockaddr_un name;
  socklen_t length;
  CHECK(read_path("@abc", &name, &length) == 0);
  CHECK(name.sun_path[0] == '\0' && memcmp(name.sun_path + 1, "abc", 3) == 0);
  CHECK(length == header + 4);
}

/* One byte more is too long; the abstract one may fill it all. */
TEST(the_longest_path) {
  struct sockaddr_un name;
  socklen_t length;
  char path[sizeof name.sun_path + 2];
  memset(path, 'x', sizeof path);
  path[sizeof name.sun_path - 1] = '\0';
  CHECK(read_path(path, &name, &length) == 0 && length == header + sizeof name.sun_path);
  path[sizeof name.sun_path - 1] = 'x';
  path[sizeof name.sun_path] = '\0';
  CHECK(read_path(path, &name, &length) == UV_ENAMETOOLONG);
  path[0] = '@';
  CHECK(read_path(path, &name, &length) == 0 && length == header + sizeof name.sun_path);
  path[sizeof name.sun_path] = 'x';
  path[sizeof name.sun_path + 1] = '\0';
  CHECK(read_path(path, &name, &length) == UV_ENAMETOOLONG);
}

TEST(the_empty_path_is_none) {
  struct sockaddr_un name;
  socklen_t length;
  CHECK(read_path("", &name, &length) == UV_EINVAL);
}

/* ---- Hosts ------------------------------------------------------------------------------------- */

static bool parse(const char *host, neap__sockaddr *name) {
  neap__endpoint endpoint = {.host = (char *)(uintptr_t)host, .port = 80};
  return neap__endpoint_parse(&endpoint, name);
}

TEST(addresses_are_told_from_names) {
  neap__sockaddr name;
  CHECK(parse("127.0.0.1", &name) && name.any.sa_family == AF_INET);
  CHECK(parse("::1", &name) && name.any.sa_family == AF_INET6);
  CHECK(parse("fe80::1%lo", &name) && name.any.sa_family == AF_INET6);
  CHECK(neap__sockaddr_length(&name.any) == sizeof(struct sockaddr_in6));
  CHECK(!parse("localhost", &name));
  CHECK(!parse("", &name));
  CHECK(!parse("*", &name));
  CHECK(!parse("127.0.0.1.", &name));
  CHECK(!parse("127.0.0.256", &name));
  CHECK(!parse("[::1]", &name));
}

static void check_label(neap__endpoint endpoint, const char *expected) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__op *op = neap__op_new(loop, &neap__connect_kind);
  neap__connect *self = (neap__connect *)op;
  self->endpoint.port = endpoint.port;
  if (endpoint.host) self->endpoint.host = neap__memory_copy(&loop->memory, endpoint.host);
  if (endpoint.path) self->endpoint.path = neap__memory_copy(&loop->memory, endpoint.path);
  CHECK(neap__endpoint_label(&self->endpoint, op) == 0);
  CHECK(strcmp(op->error.address, expected) == 0);
  neap_task_unref(&op->task);
  bench_close_idle(&b);
}

TEST(labels_say_where_to) {
  check_label((neap__endpoint){.host = "127.0.0.1", .port = 1}, "127.0.0.1:1");
  check_label((neap__endpoint){.host = "::1", .port = 65535}, "[::1]:65535");
  check_label((neap__endpoint){.host = "a.name", .port = 0}, "a.name:0");
  check_label((neap__endpoint){.path = "@name"}, "@name");
}

TEST(without_memory_there_is_no_label) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__connect *self = (neap__connect *)neap__op_new(loop, &neap__connect_kind);
  self->endpoint.host = neap__memory_copy(&loop->memory, "127.0.0.1");
  neap_loop_fail_allocation(loop, 1, false);
  neap__op_start(&self->op);
  CHECK(neap_task_error(&self->op.task)->code == UV_ENOMEM);
  neap_task_unref(&self->op.task);
  bench_close_idle(&b);
}

/* ---- What the system tells ------------------------------------------------------------------------ */

TEST(addresses_of_all_families_are_read) {
  neap__address address;
  neap__sockaddr name;
  CHECK(parse("::1", &name));
  CHECK(neap__address_read(&name.any, sizeof name, &address) == 0);
  CHECK(strcmp(address.host, "::1") == 0 && address.port == 80);
  struct sockaddr_un path = {.sun_family = AF_UNIX};
  CHECK(neap__address_read((struct sockaddr *)&path, header, &address) == 0);
  CHECK(address.host[0] == '\0' && address.port == -1);
  memset(path.sun_path, 'x', sizeof path.sun_path);
  CHECK(neap__address_read((struct sockaddr *)&path, sizeof path, &address) == 0);
  CHECK(strlen(address.host) == sizeof path.sun_path);
  path.sun_path[0] = '\0';
  CHECK(neap__address_read((struct sockaddr *)&path, header + 3, &address) == 0);
  CHECK(strcmp(address.host, "@xx") == 0);
  path.sun_family = AF_PACKET;
  CHECK(neap__address_read((struct sockaddr *)&path, sizeof path, &address) == UV_EAFNOSUPPORT);
}
