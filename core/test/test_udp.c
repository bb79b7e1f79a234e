#include "support.h"

#include "ops/udp.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No socket of the loopback is ever full: this one says so on demand, in place of the C library's. */
static bool is_full;

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *message,
                                                       int flags) {
  if (!is_full) return syscall(SYS_sendmsg, fd, message, flags);
  errno = EAGAIN;
  return -1;
}

static neap__udp_op *new_op(neap_loop *loop, const neap__op_kind *kind, neap__udp *udp) {
  neap__udp_op *self = (neap__udp_op *)neap__op_new(loop, kind);
  self->udp = udp;
  if (udp) udp->refs++;
  return self;
}

static neap__udp *open_udp(neap_loop *loop) {
  neap__udp_op *self = new_op(loop, &neap__udp_open_kind, NULL);
  self->host = neap__memory_copy(&loop->memory, "127.0.0.1");
  neap__op_start(&self->op);
  CHECK(self->op.task.status == NEAP_DONE);
  neap__udp *udp = neap__udp_take(self);
  neap_task_unref(&self->op.task);
  return udp;
}

/* Sends one byte to the socket itself. */
static neap__udp_op *start_send(neap__udp *udp, const char *byte) {
  neap__sockaddr own;
  CHECK(neap__udp_address(udp, false, &own) == 0);
  neap__udp_op *self = new_op(udp->loop, &neap__udp_send_kind, udp);
  self->host = neap__memory_copy(&udp->loop->memory, "127.0.0.1");
  self->port = neap__sockaddr_port(&own);
  self->data = byte;
  self->size = 1;
  neap__op_start(&self->op);
  return self;
}

static neap__udp_op *start_receive(neap__udp *udp) {
  neap__udp_op *self = new_op(udp->loop, &neap__udp_receive_kind, udp);
  neap__op_start(&self->op);
  return self;
}

static neap_status finish(neap__udp_op *self) {
  CHECK(neap_loop_run(self->op.task.loop, &self->op.task) == 0);
  return end_status(&self->op.task);
}

static char receive(neap__udp *udp) {
  neap__udp_op *self = start_receive(udp);
  CHECK(neap_loop_run(udp->loop, &self->op.task) == 0);
  char byte = self->datagram ? self->datagram->data[0] : '\0';
  neap_task_unref(&self->op.task);
  return byte;
}

TEST(what_does_not_fit_is_sent_later_in_order) {
  bench b;
  neap__udp *udp = open_udp(bench_open(&b));
  is_full = true;
  neap__udp_op *first = start_send(udp, "1");
  is_full = false;
  neap__udp_op *second = start_send(udp, "2");
  CHECK(first->op.task.status == NEAP_PENDING);
  CHECK(second->op.task.status == NEAP_PENDING);
  CHECK(finish(first) == NEAP_DONE);
  CHECK(finish(second) == NEAP_DONE);
  CHECK(receive(udp) == '1');
  CHECK(receive(udp) == '2');
  neap__udp_unref(udp);
  bench_close(&b);
}

TEST(what_waited_and_was_cancelled_is_not_sent) {
  bench b;
  neap__udp *udp = open_udp(bench_open(&b));
  is_full = true;
  neap__udp_op *first = start_send(udp, "1");
  neap__udp_op *second = start_send(udp, "2");
  neap__udp_op *third = start_send(udp, "3");
  CHECK(neap_task_cancel(&first->op.task) && neap_task_cancel(&third->op.task));
  is_full = false;
  CHECK(finish(second) == NEAP_DONE);
  CHECK(end_status(&first->op.task) == NEAP_CANCELLED);
  CHECK(end_status(&third->op.task) == NEAP_CANCELLED);
  CHECK(end_status(&start_send(udp, "4")->op.task) == NEAP_DONE);
  CHECK(receive(udp) == '2');
  CHECK(receive(udp) == '4');
  neap__udp_unref(udp);
  bench_close(&b);
}

TEST(all_that_waited_may_be_cancelled) {
  bench b;
  neap__udp *udp = open_udp(bench_open(&b));
  is_full = true;
  neap__udp_op *send = start_send(udp, "1");
  CHECK(neap_task_cancel(&send->op.task));
  is_full = false;
  CHECK(end_status(&send->op.task) == NEAP_CANCELLED);
  neap__udp_drop(udp);
  bench_close(&b);
}

TEST(closing_fails_what_waits_for_room) {
  bench b;
  neap__udp *udp = open_udp(bench_open(&b));
  is_full = true;
  neap__udp_op *send = start_send(udp, "1");
  neap__udp_close(udp);
  is_full = false;
  CHECK(send->op.error.code == NEAP_ECLOSED);
  CHECK(end_status(&send->op.task) == NEAP_FAILED);
  neap__udp_unref(udp);
  bench_close(&b);
}

TEST(a_socket_that_is_dropped_still_sends_what_waits) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__udp *udp = open_udp(loop);
  is_full = true;
  neap__udp_op *send = start_send(udp, "1");
  neap__udp_drop(udp);
  is_full = false;
  CHECK(finish(send) == NEAP_DONE);
  CHECK(neap__list_is_empty(&loop->resources));
  bench_close(&b);
}

TEST(a_loop_closes_with_everything_pending) {
  bench b;
  neap__udp *udp = open_udp(bench_open(&b));
  is_full = true;
  neap__udp_op *send = start_send(udp, "1");
  neap__udp_op *receive = start_receive(udp);
  neap_task_unref(&send->op.task);
  neap_task_unref(&receive->op.task);
  neap__udp_unref(udp);
  bench_close(&b);
  is_full = false;
}
