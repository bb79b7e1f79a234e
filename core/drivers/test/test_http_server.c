#include "../../test/support.h"
#include "http_server_support.h"

#define TWO                                                                                        \
  "POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"                                  \
  "GET /two HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n"

typedef struct served {
  bench bench;
  wire wire;
  char text[8192];
} served;

static void open_served(served *self) {
  bench_open(&self->bench);
  self->bench.clock.horizon = 0; /* time stands still */
  CHECK(wire_open(&self->wire, self->bench.loop));
  wire_start(&self->wire);
}

static void close_served(served *self) {
  wire_close(&self->wire);
  bench_close(&self->bench);
}

static const char *ask(served *self, const char *bytes) {
  wire_send(&self->wire, bytes, strlen(bytes));
  wire_step(&self->wire, 4);
  wire_receive(&self->wire, self->text, sizeof self->text);
  return self->text;
}

static int count(const char *text, const char *what) {
  int n = 0;
  for (; (text = strstr(text, what)); text++) n++;
  return n;
}

TEST(requests_are_answered_in_order) {
  served s;
  open_served(&s);
  const char *text = ask(&s, TWO);
  CHECK(count(text, "HTTP/1.1 200 OK\r\n") == 2);
  CHECK(strstr(text, "\r\n\r\n/oneHTTP/1.1"));
  CHECK(strstr(text, "\r\n\r\n/two"));
  CHECK(s.wire.requests == 2);
  close_served(&s);
}

TEST(where_the_bytes_are_cut_does_not_matter) {
  served s;
  open_served(&s);
  for (size_t i = 1; i < sizeof TWO - 1; i++) {
    char part[sizeof TWO] = {0};
    memcpy(part, TWO, i);
    int answers = count(ask(&s, part), "HTTP/1.1 200");
    answers += count(ask(&s, TWO + i), "HTTP/1.1 200");
    CHECK(answers == 2);
    CHECK(s.wire.requests == (int)(2 * i));
  }
  close_served(&s);
}

TEST(a_request_waits_for_the_one_before_it) {
  served s;
  open_served(&s);
  s.wire.waits = true;
  CHECK(*ask(&s, TWO) == '\0');
  CHECK(s.wire.requests == 1);
  answer_waiting(&s.wire);
  CHECK(count(ask(&s, ""), "/one") == 1);
  CHECK(s.wire.requests == 2);
  answer_waiting(&s.wire);
  CHECK(count(ask(&s, ""), "/two") == 1);
  close_served(&s);
}

TEST(a_bad_request_is_refused_and_ends_the_connection) {
  served s;
  open_served(&s);
  const char *text = ask(&s, "GET / HTTP/1.1\r\nHost: x\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(strncmp(text, "HTTP/1.1 400 Bad Request\r\n", 26) == 0);
  CHECK(count(text, "HTTP/1.1") == 1);
  CHECK(s.wire.requests == 0);
  shutdown(s.wire.peer, SHUT_WR);
  wire_step(&s.wire, 4);
  CHECK(neap_task_status(&s.wire.conn->op.task) == NEAP_DONE);
  close_served(&s);
}

TEST(the_peer_leaves) {
  served s;
  open_served(&s);
  ask(&s, TWO);
  close(s.wire.peer);
  s.wire.peer = -1;
  wire_step(&s.wire, 4);
  CHECK(neap_task_status(&s.wire.conn->op.task) == NEAP_DONE);
  close_served(&s);
}

TEST(a_connection_is_cancelled_while_its_handler_waits) {
  served s;
  open_served(&s);
  s.wire.waits = true;
  ask(&s, TWO);
  CHECK(neap_task_cancel(&s.wire.conn->op.task));
  CHECK(neap_task_status(&s.wire.conn->op.task) == NEAP_CANCELLED);
  wire_step(&s.wire, 2);
  answer_waiting(&s.wire);
  wire_step(&s.wire, 2);
  close_served(&s);
}

TEST(stopping_ends_idle_connections_only) {
  served s;
  open_served(&s);
  s.wire.waits = true;
  ask(&s, TWO);
  neap__http_server_stop(s.wire.server);
  wire_step(&s.wire, 2);
  CHECK(neap_task_status(&s.wire.conn->op.task) == NEAP_PENDING);
  answer_waiting(&s.wire);
  CHECK(count(ask(&s, ""), "Connection: close\r\n") == 1);
  shutdown(s.wire.peer, SHUT_WR);
  wire_step(&s.wire, 4);
  CHECK(neap_task_status(&s.wire.conn->op.task) == NEAP_DONE);
  close_served(&s);
}

TEST(the_loop_closes_at_any_moment) {
  for (int moment = 0; moment < 6; moment++) {
    served s;
    open_served(&s);
    s.wire.waits = moment == 4;
    if (moment == 1) wire_send(&s.wire, "GET / HT", 8);
    if (moment > 1) wire_send(&s.wire, TWO, sizeof TWO - 1);
    if (moment > 0) wire_step(&s.wire, 2);
    if (moment == 5) neap__http_hang_up(s.wire.conn);
    close_served(&s);
  }
}

TEST(memory_that_fails_ends_the_connection_at_most) {
  for (unsigned long n = 1; n < 100; n++) {
    served s;
    bench_open(&s.bench);
    s.bench.clock.horizon = 0;
    neap_loop_fail_allocation(s.bench.loop, n, n % 2);
    bool is_open = wire_open(&s.wire, s.bench.loop);
    if (is_open) {
      wire_start(&s.wire);
      ask(&s, TWO);
    }
    neap_loop_fail_allocation(s.bench.loop, 0, false);
    close_served(&s);
  }
}

/* ---- Fields and dates -------------------------------------------------------------------------- */

static int set(neap__http_exchange *exchange, const char *name, const char *value, bool replaces) {
  return neap__http_set_field(exchange, name, strlen(name), value, strlen(value), replaces);
}

TEST(fields_are_set_replaced_and_dropped) {
  served s;
  open_served(&s);
  s.wire.waits = true;
  ask(&s, TWO);
  neap__http_exchange *exchange = s.wire.waiting;
  size_t size;
  CHECK(set(exchange, "A", "1", true) == 0 && set(exchange, "AB", "2", true) == 0);
  CHECK(set(exchange, "a", "3", true) == 0 && set(exchange, "a", "4", false) == 0);
  const char *value = neap__http_get_field(exchange, "A", 1, &size);
  CHECK(size == 1 && *value == '3');
  CHECK(exchange->lines.length == strlen("AB: 2\r\na: 3\r\na: 4\r\n"));
  neap__http_drop_field(exchange, "A", 1);
  CHECK(!neap__http_get_field(exchange, "A", 1, &size));
  CHECK(!neap__http_get_field(exchange, "a name that is longer than all", 30, &size));
  CHECK(set(exchange, "A", "x\r\ny", true) == UV_EINVAL &&
        set(exchange, "A:", "x", true) == UV_EINVAL);
  CHECK(set(exchange, "Transfer-Encoding", "chunked", true) == NEAP_EMISUSE);
  close_served(&s);
}

TEST(dates_are_read_as_they_are_written) {
  char text[32];
  for (int64_t time = 0; time < 8000000000; time += 86399 * 11) {
    neap__http_format_date((time_t)time, text);
    CHECK(strlen(text) == 29);
    CHECK(neap__http_parse_date(text, 29) == (time_t)time);
  }
  neap__http_format_date(784111777, text);
  CHECK(strcmp(text, "Sun, 06 Nov 1994 08:49:37 GMT") == 0);
  CHECK(neap__http_parse_date("Sun, 06 Nov 1994 08:49:37 UTC", 29) == -1);
  CHECK(neap__http_parse_date("Sun, 06 Nov 1994 25:49:37 GMT", 29) == -1);
  CHECK(neap__http_parse_date("", 0) == -1);
}
