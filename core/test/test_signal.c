#include "support.h"

#include "ops/signal.h"

#include <signal.h>

static neap__signals *listen_to(neap_loop *loop, int a, int b) {
  neap__signals *signals = NULL;
  CHECK(neap__signals_new(loop, (int[]){a, b}, 2, &signals) == 0);
  return signals;
}

static neap__signals_op *start_next(neap__signals *signals) {
  neap__signals_op *self =
      (neap__signals_op *)neap__op_new(signals->loop, &neap__signals_next_kind);
  self->signals = signals;
  signals->refs++;
  neap__op_start(&self->op);
  return self;
}

static int finish_next(neap__signals_op *self) {
  CHECK(neap_loop_run(self->op.task.loop, &self->op.task) == 0);
  int number = self->number;
  CHECK(end_status(&self->op.task) == NEAP_DONE);
  return number;
}

TEST(names_and_numbers_belong_together) {
  CHECK(neap__signal_number("SIGTERM") == SIGTERM);
  CHECK(neap__signal_number("TERM") == 0);
  CHECK(neap__signal_number("") == 0);
  CHECK(neap__signal_name(0) == NULL);
  for (int number = 1; number < 32; number++) {
    const char *name = neap__signal_name(number);
    CHECK(!name || neap__signal_number(name) == number);
  }
}

TEST(a_signal_reaches_who_waits_or_is_kept) {
  bench b;
  neap__signals *signals = listen_to(bench_open_on(&b, NULL, false), SIGUSR1, SIGUSR2);
  neap__signals_op *next = start_next(signals);
  raise(SIGUSR2);
  CHECK(finish_next(next) == SIGUSR2);
  raise(SIGUSR1);
  CHECK(finish_next(start_next(signals)) == SIGUSR1);
  neap__signals_close(signals);
  CHECK(finish_next(start_next(signals)) == 0);
  neap__signals_unref(signals);
  bench_close_idle(&b);
}

TEST(a_second_next_is_refused) {
  bench b;
  neap__signals *signals = listen_to(bench_open(&b), SIGUSR1, SIGUSR2);
  neap__signals_op *first = start_next(signals);
  neap__signals_op *second = start_next(signals);
  CHECK(second->op.error.code == NEAP_EMISUSE);
  CHECK(end_status(&second->op.task) == NEAP_FAILED);
  neap__signals_drop(signals); /* nothing happens: somebody waits */
  raise(SIGUSR1);
  CHECK(finish_next(first) == SIGUSR1);
  bench_close(&b);
}

TEST(a_signal_that_cannot_be_caught_leaves_nothing) {
  bench b;
  neap__signals *signals = NULL;
  neap_loop *loop = bench_open(&b);
  CHECK(neap__signals_new(loop, (int[]){SIGUSR1, SIGKILL}, 2, &signals) == UV_EINVAL);
  CHECK(neap__signal_obstacle(SIGKILL) && !neap__signal_obstacle(SIGTERM));
  bench_close_idle(&b);
}

TEST(a_loop_closes_with_a_wait_pending) {
  bench b;
  neap__signals *signals = listen_to(bench_open(&b), SIGUSR1, SIGUSR2);
  neap__signals_op *next = start_next(signals);
  neap__signals_unref(signals);
  neap_task_unref(&next->op.task);
  bench_close(&b);
}
