#include "support.h"

#include "ops/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- A resolver that answers what a test wants --------------------------------------------------- */

enum { MOST = 8 };

static struct addrinfo answers[MOST];
static struct sockaddr_storage names[MOST];
static int answer_count;
static uv_timer_t answer_timer;
static uv_getaddrinfo_t *asked;
static uv_getaddrinfo_cb asked_by;

static void on_closed(uv_handle_t *timer) {
  (void)timer;
}

static void on_answer(uv_timer_t *timer) {
  uv_close((uv_handle_t *)timer, on_closed);
  asked_by(asked, 0, answer_count ? answers : NULL);
}

/* In place of libuv's, for the program's own definition comes first. */
int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb callback,
                   const char *node, const char *service, const struct addrinfo *hints) {
  (void)node, (void)service, (void)hints;
  asked = request;
  asked_by = callback;
  uv_timer_init(loop, &answer_timer);
  return uv_timer_start(&answer_timer, on_answer, 0, 0);
}

void uv_freeaddrinfo(struct addrinfo *addresses) {
  CHECK(!addresses || addresses == answers);
}

static void add_answer(const struct sockaddr_storage *name) {
  struct addrinfo *answer = &answers[answer_count];
  names[answer_count] = *name;
  *answer = (struct addrinfo){.ai_family = name->ss_family,
                              .ai_addr = (struct sockaddr *)&names[answer_count]};
  if (answer_count > 0) answers[answer_count - 1].ai_next = answer;
  answer_count++;
}

/* ---- Places to connect to ------------------------------------------------------------------------ */

typedef struct place {
  int fd; /* listens */
  struct sockaddr_storage name;
  int fillers[MOST];
} place;

static socklen_t length_of(const place *self) {
  return neap__sockaddr_length((const struct sockaddr *)&self->name);
}

/* A socket that is bound to a free port of the loopback. */
static void open_place(place *self, int family) {
  memset(self, 0, sizeof *self);
  for (int i = 0; i < MOST; i++) self->fillers[i] = -1;
  if (family == AF_INET6)
    uv_ip6_addr("::1", 0, (struct sockaddr_in6 *)&self->name);
  else
    uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *)&self->name);
  socklen_t length = length_of(self);
  self->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(self->fd, (struct sockaddr *)&self->name, length) == 0);
  CHECK(getsockname(self->fd, (struct sockaddr *)&self->name, &length) == 0);
}

static void close_place(place *self) {
  close(self->fd);
  for (int i = 0; i < MOST; i++)
    if (self->fillers[i] >= 0) close(self->fillers[i]);
}

static void open_good(place *self, int family) {
  open_place(self, family);
  CHECK(listen(self->fd, 16) == 0);
}

/* It is bound, so that nobody else gets the port, and does not listen. */
static void open_refusing(place *self, int family) {
  open_place(self, family);
}

/* Too many wait to be accepted: it does not answer any more. */
static void open_silent(place *self, int family) {
  open_place(self, family);
  CHECK(listen(self->fd, 0) == 0);
  for (int i = 0; i < MOST; i++) {
    self->fillers[i] = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int code = connect(self->fillers[i], (struct sockaddr *)&self->name, length_of(self));
    CHECK(code == 0 || errno == EINPROGRESS);
  }
}

/* ---- Connecting ------------------------------------------------------------------------------------ */

static neap__connect *start_connect(neap_loop *loop) {
  neap__connect *self = (neap__connect *)neap__op_new(loop, &neap__connect_kind);
  self->endpoint.host = neap__memory_copy(&loop->memory, "a.name");
  self->endpoint.port = 80;
  neap__op_start(&self->op);
  return self;
}

static neap__connect *connect_to(neap_loop *loop, const place *places, int count) {
  answer_count = 0;
  for (int i = 0; i < count; i++) add_answer(&places[i].name);
  return start_connect(loop);
}

static void finish(neap__connect *self) {
  CHECK(neap_loop_run(self->op.task.loop, &self->op.task) == 0);
}

static int count_resources(const neap_loop *loop) {
  int n = 0;
  for (const neap__list *link = loop->resources.next; link != &loop->resources; link = link->next)
    n++;
  return n;
}

static int port_of(const struct sockaddr_storage *name) {
  neap__address address;
  CHECK(neap__address_read((const struct sockaddr *)name, sizeof *name, &address) == 0);
  return address.port;
}

/* It has come to `where`, at that time, and nothing else is left open. */
static void check_connected(neap__connect *self, const place *where, double time) {
  neap_loop *loop = self->op.task.loop;
  neap__address address;
  finish(self);
  CHECK(neap_task_status(&self->op.task) == NEAP_DONE);
  CHECK(neap_loop_now(loop) == time);
  CHECK(count_resources(loop) == 1 && !self->attempts);
  neap__stream *stream = neap__connect_take(self);
  if (CHECK(stream != NULL)) {
    CHECK(neap__stream_address(stream, true, &address) == 0);
    CHECK(address.port == port_of(&where->name));
    neap__stream_close(stream);
    neap__stream_unref(stream);
  }
  neap_task_unref(&self->op.task);
}

static void check_failed(neap__connect *self, int code, double time) {
  finish(self);
  const neap_error *error = neap_task_error(&self->op.task);
  if (CHECK(error != NULL)) {
    CHECK(error->code == code);
    CHECK(strcmp(error->address, "a.name:80") == 0 && strcmp(error->syscall, "connect") == 0);
  }
  CHECK(neap_loop_now(self->op.task.loop) == time);
  CHECK(count_resources(self->op.task.loop) == 0);
  neap_task_unref(&self->op.task);
}

static void close_places(bench *b, place *places, int count) {
  for (int i = 0; i < count; i++) close_place(&places[i]);
  bench_close_idle(b);
}

TEST(the_first_address_that_answers_is_taken_at_once) {
  bench b;
  place places[2];
  neap_loop *loop = bench_open(&b);
  open_good(&places[0], AF_INET);
  open_good(&places[1], AF_INET);
  check_connected(connect_to(loop, places, 2), &places[0], 0);
  close_places(&b, places, 2);
}

TEST(an_address_that_fails_is_followed_by_the_next_at_once) {
  bench b;
  place places[3];
  neap_loop *loop = bench_open(&b);
  open_refusing(&places[0], AF_INET);
  open_refusing(&places[1], AF_INET);
  open_good(&places[2], AF_INET);
  check_connected(connect_to(loop, places, 3), &places[2], 0);
  close_places(&b, places, 3);
}

TEST(an_address_that_is_silent_is_followed_after_a_quarter_of_a_second) {
  bench b;
  place places[3];
  neap_loop *loop = bench_open(&b);
  open_silent(&places[0], AF_INET);
  open_silent(&places[1], AF_INET);
  open_good(&places[2], AF_INET);
  check_connected(connect_to(loop, places, 3), &places[2], 0.5);
  close_places(&b, places, 3);
}

TEST(a_failure_does_not_wait_for_the_time_of_the_next) {
  bench b;
  place places[4];
  neap_loop *loop = bench_open(&b);
  open_silent(&places[0], AF_INET);
  open_refusing(&places[1], AF_INET);
  open_silent(&places[2], AF_INET);
  open_good(&places[3], AF_INET);
  check_connected(connect_to(loop, places, 4), &places[3], 0.5);
  close_places(&b, places, 4);
}

TEST(what_is_silent_may_still_answer_when_the_others_have_failed) {
  bench b;
  place places[2];
  neap_loop *loop = bench_open(&b);
  open_silent(&places[0], AF_INET);
  open_refusing(&places[1], AF_INET);
  neap__connect *self = connect_to(loop, places, 2);
  for (int i = 0; i < 20; i++) neap_loop_step(loop);
  CHECK(neap_task_status(&self->op.task) == NEAP_PENDING);
  CHECK(self->attempts && self->next == 2);
  CHECK(neap_task_cancel(&self->op.task));
  neap_task_unref(&self->op.task);
  for (int i = 0; i < 4; i++) neap_loop_step(loop);
  close_places(&b, places, 2);
}

static bool is_queued(const neap__connect *self, int i, const struct sockaddr_storage *name) {
  neap__sockaddr wanted;
  CHECK(neap__sockaddr_copy((const struct sockaddr *)name, &wanted));
  return neap__sockaddr_equal(&self->queue[i], &wanted);
}

TEST(the_families_take_turns) {
  bench b;
  place places[5];
  neap_loop *loop = bench_open(&b);
  for (int i = 0; i < 5; i++) open_refusing(&places[i], i < 3 ? AF_INET6 : AF_INET);
  neap__connect *self = connect_to(loop, places, 5);
  finish(self);
  static const int order[] = {0, 3, 1, 4, 2};
  if (CHECK(self->queued == 5))
    for (int i = 0; i < 5; i++) CHECK(is_queued(self, i, &names[order[i]]));
  check_failed(self, UV_ECONNREFUSED, 0);
  close_places(&b, places, 5);
}

TEST(the_other_family_answers_for_a_silent_one) {
  bench b;
  place places[3];
  neap_loop *loop = bench_open(&b);
  open_silent(&places[0], AF_INET6);
  open_silent(&places[1], AF_INET6);
  open_good(&places[2], AF_INET);
  check_connected(connect_to(loop, places, 3), &places[2], 0.25);
  close_places(&b, places, 3);
}

TEST(no_address_at_all_is_an_error) {
  bench b;
  neap_loop *loop = bench_open(&b);
  check_failed(connect_to(loop, NULL, 0), UV_EAI_NODATA, 0);
  bench_close_idle(&b);
}

/* Cancelled while it resolves, connects, waits for the next attempt, and with two under way. */
TEST(a_cancelled_connect_leaves_nothing) {
  for (int steps = 0; steps < 12; steps++) {
    bench b;
    place places[3];
    neap_loop *loop = bench_open(&b);
    for (int i = 0; i < 3; i++) open_silent(&places[i], AF_INET);
    neap__connect *self = connect_to(loop, places, 3);
    for (int i = 0; i < steps; i++) neap_loop_step(loop);
    CHECK(neap_task_cancel(&self->op.task));
    CHECK(end_status(&self->op.task) == NEAP_CANCELLED);
    for (int i = 0; i < 4; i++) neap_loop_step(loop);
    CHECK(count_resources(loop) == 0);
    close_places(&b, places, 3);
  }
}

TEST(the_loop_closes_at_any_time_of_a_connect) {
  for (int steps = 0; steps < 12; steps++) {
    bench b;
    place places[3];
    neap_loop *loop = bench_open(&b);
    for (int i = 0; i < 3; i++) open_silent(&places[i], AF_INET);
    neap__connect *self = connect_to(loop, places, 3);
    for (int i = 0; i < steps; i++) neap_loop_step(loop);
    neap_loop_close(loop);
    CHECK(end_status(&self->op.task) == NEAP_CANCELLED);
    for (int i = 0; i < 3; i++) close_place(&places[i]);
    CHECK(atomic_load(&b.memory.live) == 0);
  }
}

TEST(without_memory_it_fails_or_goes_on) {
  for (unsigned long n = 1; n < 40; n++) {
    bench b;
    place places[3];
    neap_loop *loop = bench_open(&b);
    open_silent(&places[0], AF_INET);
    open_refusing(&places[1], AF_INET);
    open_good(&places[2], AF_INET);
    neap__connect *self = connect_to(loop, places, 3);
    neap_loop_fail_allocation(loop, n, n % 2);
    /* Only the first attempt could be begun: nobody answers it. */
    for (int i = 0; i < 30 && neap_task_status(&self->op.task) == NEAP_PENDING; i++)
      neap_loop_step(loop);
    bool has_failed = neap_loop_fail_allocation(loop, 0, false);
    CHECK(has_failed || neap_task_status(&self->op.task) == NEAP_DONE);
    neap_task_cancel(&self->op.task);
    neap_task_unref(&self->op.task);
    for (int i = 0; i < 4; i++) neap_loop_step(loop);
    close_places(&b, places, 3);
  }
}
