#include "loop.h"

#include "cancel.h"
#include "combine.h"
#include "ops/blocked.h"
#include "ops/pause.h"
#include "ops/work.h"
#include "token.h"

#include <assert.h>
#include <math.h>

/* ---- Turns --------------------------------------------------------------------------------- */

/* For tests: the same number as was ready, in an order that is drawn, newcomers among them. */
static int run_drawn(neap_loop *loop) {
  int runs = 0, n = 0;
  for (neap__runnable *runnable = loop->ready.head; runnable; runnable = runnable->next) n++;
  for (neap__runnable *runnable; runs < n && (runnable = neap__ready_draw(&loop->ready)); runs++)
    runnable->run(runnable);
  return runs;
}

/* Runs what was ready when the turn began, and nothing that becomes ready meanwhile. */
static int run_batch(neap_loop *loop) {
  if (loop->ready.seed) return run_drawn(loop);
  neap__runnable *last = loop->ready.tail;
  int runs = 0;
  for (neap__runnable *runnable; last && (runnable = neap__ready_pop(&loop->ready)); runs++) {
    runnable->run(runnable);
    if (runnable == last) return runs + 1;
  }
  return runs;
}

void neap__loop_turns(neap_loop *loop) {
  int runs = 0;
  assert(!loop->is_turning);
  loop->is_turning = true;
  loop->spot_cost = 0;
  for (int turn = 0; turn < NEAP__TURNS_PER_POLL && runs < NEAP__RUNS_PER_POLL; turn++) {
    runs += run_batch(loop);
    if (loop->timers.count > 0) neap__timers_fire(&loop->timers, neap__loop_now(loop));
    if (!loop->ready.head || loop->spot_cost >= NEAP__SPOT_COST_PER_POLL) break;
  }
  loop->is_turning = false;
}

/* ---- libuv --------------------------------------------------------------------------------- */

/* It has woken the poll, and what is due fires in the next turn. Where the time had come before the poll,
 * libuv (before 1.45) calls this first and would then wait without it: what stops is that wait. */
static void on_alarm(uv_timer_t *alarm) {
  if (NEAP__CONTAINER(alarm, neap_loop, alarm)->is_polling) uv_stop(alarm->loop);
}

/* Rounded up: an alarm that is early would only be set again. */
static uint64_t to_milliseconds(double seconds) {
  const double longest = 1e12;
  if (seconds <= 0) return 0;
  if (seconds * 1000 >= longest) return (uint64_t)longest;
  uint64_t whole = (uint64_t)(seconds * 1000);
  return (double)whole < seconds * 1000 ? whole + 1 : whole;
}

/* Lets libuv's poll end at `deadline` at the latest; 0 at once, HUGE_VAL never for our sake. */
static void set_alarm(neap_loop *loop, double deadline) {
  if (deadline == loop->alarm_deadline && uv_is_active((uv_handle_t *)&loop->alarm)) return;
  loop->alarm_deadline = deadline;
  if (deadline == HUGE_VAL) {
    uv_timer_stop(&loop->alarm);
    return;
  }
  double wait = deadline > 0 ? deadline - neap__loop_now(loop) : 0;
  uv_update_time(loop->uv);
  uv_timer_start(&loop->alarm, on_alarm, to_milliseconds(wait), 0);
}

static double next_alarm(neap_loop *loop) {
  return loop->ready.head ? 0 : neap__timers_next(&loop->timers);
}

/* On a loop that others use: what becomes pending outside of our turns has to keep that loop alive, and
 * to end a poll of ours. */
static void note_pending(neap_loop *loop) {
  if (!loop->is_shared || loop->is_turning || loop->is_closing) return;
  set_alarm(loop, loop->is_polling ? 0 : next_alarm(loop));
}

void neap__loop_ready(neap_loop *loop, neap__runnable *runnable) {
  neap__ready_push(&loop->ready, runnable);
  if (loop->ready.head == runnable) note_pending(loop);
}

int neap__loop_arm(neap_loop *loop, neap__timer *timer, double deadline) {
  int code = neap__timer_arm(&loop->timers, timer, deadline);
  if (!code && timer->place == 1) note_pending(loop);
  return code;
}

static void run_turns(neap_loop *loop) {
  if (loop->hooks.turns)
    loop->hooks.turns(loop->hooks.data);
  else
    neap__loop_turns(loop);
}

/* Somebody else runs libuv's loop. Where we do, our turns come between the polls; in a turn (a task runs
 * that loop, which it must not) there are none. */
static void on_prepare(uv_prepare_t *prepare) {
  neap_loop *loop = prepare->data;
  if (loop->is_polling || loop->is_turning) return;
  do run_turns(loop);
  while (!loop->ready.head && neap__blocked_notify(loop));
  set_alarm(loop, next_alarm(loop));
}

static void on_check(uv_check_t *check) {
  on_prepare(&((neap_loop *)check->data)->prepare);
}

/* ---- Own loop: stepping --------------------------------------------------------------------- */

static bool is_io_alive(const neap_loop *loop) {
  return uv_loop_alive(loop->uv) || loop->holds > 0;
}

static void poll(neap_loop *loop, uv_run_mode mode) {
  loop->is_polling = true;
  uv_run(loop->uv, mode);
  loop->is_polling = false;
}

static void poll_until(neap_loop *loop, double deadline) {
  set_alarm(loop, deadline);
  poll(loop, UV_RUN_ONCE);
}

static void poll_now(neap_loop *loop) {
  set_alarm(loop, HUGE_VAL);
  poll(loop, UV_RUN_NOWAIT);
}

/* How long what is on its way gets before a virtual clock jumps, in milliseconds of real time: jobs
 * of the thread pool end by themselves, unless they block for ever, and so does what another thread
 * computes before it posts; what was sent to a socket of this machine is there almost at once. */
enum { PATIENCE_WITH_THREADS = 100, PATIENCE_WITH_SOCKETS = 2 };

/* Waits for events; true if one has come before the patience was over. */
static bool poll_patiently(neap_loop *loop) {
  bool has_threads = loop->jobs > 0 || loop->holds > 0;
  uint64_t patience = has_threads ? PATIENCE_WITH_THREADS : PATIENCE_WITH_SOCKETS;
  uint64_t begin = uv_hrtime();
  size_t arrivals = loop->arrivals;
  uv_update_time(loop->uv);
  uv_timer_start(&loop->alarm, on_alarm, patience, 0);
  loop->alarm_deadline = -1;
  poll(loop, UV_RUN_ONCE);
  uv_timer_stop(&loop->alarm);
  if (loop->ready.head || loop->arrivals != arrivals) return true;
  return (uv_hrtime() - begin) / 1000000 < patience;
}

/* A virtual clock moves only when there is nothing else to wait for. */
static neap_progress idle_virtual(neap_loop *loop) {
  set_alarm(loop, HUGE_VAL);
  bool is_alive = is_io_alive(loop);
  if (is_alive && poll_patiently(loop)) return NEAP_PROGRESS;
  if (loop->clock->idle(loop->clock, neap__timers_next(&loop->timers))) return NEAP_PROGRESS;
  return is_alive ? NEAP_PROGRESS : NEAP_IDLE;
}

static neap_progress idle(neap_loop *loop) {
  if (loop->clock->idle) return idle_virtual(loop);
  double deadline = neap__timers_next(&loop->timers);
  bool is_alive = is_io_alive(loop);
  if (deadline == HUGE_VAL && !is_alive) return NEAP_IDLE;
  poll_until(loop, deadline);
  return NEAP_PROGRESS;
}

neap_progress neap__loop_wait(neap_loop *loop) {
  /* libuv does not look at its handles when none of them keeps the loop alive. */
  if (neap__inbox_drain(loop->inbox)) return NEAP_PROGRESS;
  if (loop->ready.head) {
    poll_now(loop);
    return NEAP_PROGRESS;
  }
  if (neap__blocked_notify(loop)) return NEAP_PROGRESS;
  neap_progress progress = idle(loop);
  if (progress == NEAP_IDLE && neap__break_kept_cycle(loop)) return NEAP_PROGRESS;
  return progress;
}

neap_progress neap_loop_step(neap_loop *loop) {
  neap__loop_turns(loop);
  return neap__loop_wait(loop);
}

static double soonest(neap_loop *loop, double seconds) {
  double now = neap__loop_now(loop), due = neap__timers_next(&loop->timers);
  return now + seconds < due ? now + seconds : due;
}

/* Held meanwhile, for another thread may post: libuv does not look at handles that keep nothing alive. */
static neap_progress wait_at_most(neap_loop *loop, double seconds) {
  bool is_pending = is_io_alive(loop) || neap__timers_next(&loop->timers) < HUGE_VAL;
  neap_loop_hold(loop);
  if (seconds > 0)
    poll_until(loop, soonest(loop, seconds));
  else
    poll_now(loop);
  neap_loop_release(loop);
  set_alarm(loop, HUGE_VAL); /* it was for this poll */
  return is_pending || loop->ready.head ? NEAP_PROGRESS : NEAP_IDLE;
}

neap_progress neap_loop_poll(neap_loop *loop, double seconds) {
  neap__loop_turns(loop);
  neap_progress progress = neap__loop_poll(loop, seconds);
  if (loop->ready.head) neap__loop_turns(loop);
  return progress;
}

neap_progress neap__loop_poll(neap_loop *loop, double seconds) {
  if (neap__inbox_drain(loop->inbox)) return NEAP_PROGRESS;
  if (seconds == HUGE_VAL || loop->clock->idle || loop->ready.head) return neap__loop_wait(loop);
  if (neap__blocked_notify(loop)) return NEAP_PROGRESS;
  return wait_at_most(loop, seconds);
}

double neap_loop_due(neap_loop *loop) {
  if (loop->ready.head) return 0;
  uv_update_time(loop->uv);
  int others = uv_loop_alive(loop->uv) ? uv_backend_timeout(loop->uv) : -1;
  double seconds = neap__timers_next(&loop->timers) - neap__loop_now(loop);
  if (others >= 0 && others / 1000.0 < seconds) seconds = others / 1000.0;
  return seconds > 0 ? seconds : 0;
}

int neap_loop_fd(const neap_loop *loop) {
  return uv_backend_fd(loop->uv);
}

static bool has_ended(const neap_loop *loop, const neap_task *task) {
  return task ? task->status != NEAP_PENDING : loop->tasks == 0;
}

int neap_loop_run(neap_loop *loop, neap_task *task) {
  while (!has_ended(loop, task)) {
    neap__loop_turns(loop);
    if (has_ended(loop, task)) break;
    if (neap__loop_wait(loop) == NEAP_IDLE) return NEAP_EDEADLOCK;
  }
  return 0;
}

void neap__loop_calm_down(neap_loop *loop) {
  for (;;) {
    neap__loop_turns(loop);
    if (loop->ready.head)
      poll_now(loop);
    else if (loop->operations == 0 || !poll_patiently(loop))
      return;
  }
}

void neap__loop_drain(neap_loop *loop, bool waits) {
  bool was_polling = loop->is_polling;
  loop->is_polling = true;
  uv_run(loop->uv, waits ? UV_RUN_ONCE : UV_RUN_NOWAIT);
  loop->is_polling = was_polling;
}

/* ---- Making -------------------------------------------------------------------------------- */

/* The inbox's, which it makes itself, the alarm, and the two that notice when others run libuv's loop. */
enum { OWN_HANDLES = 4 };

static void start_watching(neap_loop *loop) {
  uv_prepare_start(&loop->prepare, on_prepare);
  uv_check_start(&loop->check, on_check);
  uv_unref((uv_handle_t *)&loop->prepare);
  uv_unref((uv_handle_t *)&loop->check);
}

static void init_handles(neap_loop *loop, uv_loop_t *uv) {
  loop->uv = uv;
  uv_timer_init(uv, &loop->alarm);
  uv_prepare_init(uv, &loop->prepare);
  uv_check_init(uv, &loop->check);
  loop->prepare.data = loop->check.data = loop;
  if (loop->is_shared) start_watching(loop);
}

/* libuv watches a descriptor from its next run on: the one of posts, before neap_loop_fd is waited on. */
static void watch_posts(neap_loop *loop) {
  neap_loop_hold(loop);
  uv_run(loop->uv, UV_RUN_NOWAIT);
  neap_loop_release(loop);
}

static int init_uv(neap_loop *loop, uv_loop_t *borrowed) {
  uv_loop_t *uv = borrowed ? borrowed : &loop->own;
  loop->owns_uv = !borrowed;
  loop->is_shared = borrowed;
  int code = borrowed ? 0 : uv_loop_init(uv);
  if (code) return code;
  code = neap__inbox_new(uv, &loop->inbox);
  if (code) {
    if (loop->owns_uv) uv_loop_close(uv);
    return code;
  }
  init_handles(loop, uv);
  loop->anchors += OWN_HANDLES;
  if (loop->owns_uv) watch_posts(loop);
  return 0;
}

int neap_loop_new(const neap_loop_options *options, neap_loop **result) {
  neap_loop_options defaults = {0};
  if (!options) options = &defaults;
  neap__memory memory;
  neap__memory_init(&memory, options->allocator, options->allocator_data);
  neap_loop *loop = neap__memory_new(&memory, sizeof *loop);
  if (!loop) return UV_ENOMEM;
  loop->memory = memory;
  neap__timers_init(&loop->timers, &loop->memory);
  loop->monotonic = (neap_clock){neap__clock_monotonic, NULL};
  loop->clock = options->clock ? options->clock : &loop->monotonic;
  loop->threads = options->threads;
  neap__list_init(&loop->ended);
  neap__list_init(&loop->dead);
  neap__list_init(&loop->resources);
  neap__list_init(&loop->watchers);
  neap__list_init(&loop->works);
  neap__scope_open(&loop->root, loop, NULL, false);
  loop->anchors = 1;
  int code = init_uv(loop, options->uv);
  if (code) {
    memory.allocate(memory.data, loop, 0);
    return code;
  }
  *result = loop;
  return 0;
}

/* ---- Sharing ------------------------------------------------------------------------------- */

void neap__loop_share(neap_loop *loop) {
  if (loop->is_shared) return;
  loop->is_shared = true;
  start_watching(loop);
  note_pending(loop);
}

static void count_handle(uv_handle_t *handle, void *count) {
  (void)handle;
  ++*(size_t *)count;
}

/* What uses libuv's loop is only what a loop always has. */
static bool is_bare(const neap_loop *loop) {
  size_t count = 0;
  uv_walk(loop->uv, count_handle, &count);
  return count == OWN_HANDLES && loop->uv->active_reqs.count == 0;
}

/* The inbox stays locked until it has entered a loop again. */
static void leave_uv(neap_loop *loop) {
  neap__inbox_leave(loop->inbox);
  uv_close((uv_handle_t *)&loop->alarm, NULL);
  uv_close((uv_handle_t *)&loop->prepare, NULL);
  uv_close((uv_handle_t *)&loop->check, NULL);
  uv_run(loop->uv, UV_RUN_DEFAULT);
}

int neap__loop_move(neap_loop *loop, uv_loop_t *uv, bool owns_uv) {
  if (!loop->owns_uv || loop->is_polling || !is_bare(loop)) return UV_EBUSY;
  leave_uv(loop);
  int code = neap__inbox_enter(loop->inbox, uv, loop->holds > 0);
  if (code) {
    neap__inbox_enter(loop->inbox, loop->uv, loop->holds > 0); /* it has what an async needs */
    uv = loop->uv;
  } else {
    uv_loop_close(loop->uv);
    loop->owns_uv = owns_uv;
  }
  init_handles(loop, uv);
  return code;
}

/* ---- Closing ------------------------------------------------------------------------------- */

void neap__loop_unanchor(neap_loop *loop) {
  if (--loop->anchors > 0) return;
  neap__memory memory = loop->memory;
  memory.allocate(memory.data, loop, 0);
}

static void on_handle_closed(uv_handle_t *handle) {
  neap__loop_unanchor(handle->data);
}

static void close_handle(neap_loop *loop, uv_handle_t *handle) {
  handle->data = loop;
  uv_close(handle, on_handle_closed);
}

static void on_inbox_closed(void *loop) {
  neap__loop_unanchor(loop);
}

/* The deepest first node: nothing is below it. */
static neap__node *first_leaf(neap__node *node) {
  while (node->last_child) node = neap__node_first_child(node);
  return node;
}

static void drop_node(neap__node *node) {
  if (node->kind == NEAP__NODE_SCOPE) {
    neap__routine *routine = neap__node_scope(node)->task;
    const neap__task_kind *kind = routine->task.kind;
    (kind->drop_scope ? kind->drop_scope : kind->drop)(routine);
    return;
  }
  neap_task *task = neap__node_task(node);
  if (task->kind->has_body)
    task->kind->drop(neap__task_routine(task));
  else
    task->kind->cancel(task);
}

/* Nobody runs any more. Tasks in the queue are dropped through the tree; a pause that was awaited and
 * a token that has something to say are nowhere else. */
static void empty_queue(neap_loop *loop) {
  for (neap__runnable *runnable; (runnable = neap__ready_pop(&loop->ready));)
    if (runnable->run == neap__pause_run || runnable->run == neap__token_run)
      runnable->run(runnable);
}

static void drop_all(neap_loop *loop) {
  loop->current = NULL;
  empty_queue(loop);
  neap__node *node = first_leaf(&loop->root.node);
  while (node != &loop->root.node) {
    neap__node *parent = node->parent;
    empty_queue(loop); /* nobody runs any more, and it may soon be freed */
    drop_node(node);
    node = first_leaf(parent);
  }
  neap__ready_clear(&loop->ready);
}

static void close_resources(neap_loop *loop) {
  while (!neap__list_is_empty(&loop->resources)) {
    neap__resource *resource = NEAP__CONTAINER(loop->resources.next, neap__resource, link);
    resource->close(resource);
  }
}

/* In checking builds: walks everything, so only at moments that are rare. */
static void check_invariants(const neap_loop *loop) {
#ifdef NEAP_CHECKED
  assert(neap__timers_is_valid(&loop->timers) && neap__node_is_valid(&loop->root.node));
#endif
  (void)loop;
}

/* Tasks that the host still has outlive the language, and so does what they were cancelled for. `data` stays:
 * nothing of the language is told that it has gone. */
static void forget_hooks(neap_loop *loop) {
  loop->hooks = (neap__hooks){.data = loop->hooks.data};
}

void neap_loop_close(neap_loop *loop) {
  check_invariants(loop);
  loop->is_closing = true;
  neap__work_end_all(loop);
  neap_pool_unref(loop->pool);
  neap__inbox_close(loop->inbox);
  drop_all(loop);
  close_resources(loop);
  neap__timers_deinit(&loop->timers);
  neap__memory_free(&loop->memory, loop->read_buffer);
  loop->read_buffer = NULL;
  neap__node_forget_cause(&loop->root.node, loop);
  forget_hooks(loop);
  uv_loop_t *uv = loop->uv;
  neap__inbox_close_handle(loop->inbox, on_inbox_closed, loop);
  close_handle(loop, (uv_handle_t *)&loop->alarm);
  close_handle(loop, (uv_handle_t *)&loop->prepare);
  close_handle(loop, (uv_handle_t *)&loop->check);
  if (loop->owns_uv) {
    /* Close callbacks, and jobs that are still in the pool; again after an uv_stop. */
    while (uv_run(uv, UV_RUN_DEFAULT)) {
    }
    int code = uv_loop_close(uv);
    assert(code == 0 || loop->is_shared); /* in a close callback of somebody else others are left */
    (void)code;
  }
  neap__loop_unanchor(loop);
}

/* ---- Small things -------------------------------------------------------------------------- */

void *neap_loop_data(const neap_loop *loop) {
  return loop->data;
}

void neap_loop_set_data(neap_loop *loop, void *data) {
  loop->data = data;
}

uv_loop_t *neap_loop_uv(neap_loop *loop) {
  return loop->uv;
}

double neap_loop_now(neap_loop *loop) {
  return neap__loop_now(loop);
}

void neap_loop_set_clock(neap_loop *loop, neap_clock *clock) {
  double before = neap__loop_now(loop);
  loop->clock = clock ? clock : &loop->monotonic;
  neap__timers_shift(&loop->timers, neap__loop_now(loop) - before);
  note_pending(loop);
}

void neap_loop_set_schedule(neap_loop *loop, uint64_t seed) {
  loop->ready.seed = seed;
}

void neap_loop_hold(neap_loop *loop) {
  if (loop->holds++ == 0) uv_ref((uv_handle_t *)&loop->inbox->async);
}

void neap_loop_release(neap_loop *loop) {
  assert(loop->holds > 0);
  if (--loop->holds == 0) uv_unref((uv_handle_t *)&loop->inbox->async);
}

neap_stats neap_loop_stats(const neap_loop *loop) {
  return (neap_stats){.tasks = loop->tasks,
                      .operations = loop->operations,
                      .timers = loop->timers.count,
                      .scopes = loop->scopes,
                      .blocks = loop->memory.live};
}

bool neap_loop_fail_allocation(neap_loop *loop, unsigned long n, bool persist) {
  bool fired = loop->memory.fired;
  loop->memory.fired = false;
  loop->memory.fail_at = n;
  loop->memory.persist = persist;
  return fired;
}
