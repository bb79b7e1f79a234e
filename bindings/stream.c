#include "stream.h"

#include "../core/cancel.h"
#include "../core/loop.h"
#include "await.h"
#include "coroutine.h"
#include "error.h"
#include "locals.h"
#include "operations.h"
#include "waiter.h"

/* A pull, or the closing of a stream. In the userdata of its Task, pinned while it is pending. */
typedef struct pull {
  neapL__handle handle;
  neap_task task;
  neapL__task *producer;
} pull;

/* The task behind a stream. Invariant: current is pending while the producer is not parked, except
 * when it ends on its own (is_abandoned). */
typedef struct producer {
  neapL__task task;
  pull *current;
  neap_queue closers; /* calls of close while a pull was pending */
  bool is_closing;    /* `yield` raises the close signal */
  bool is_abandoned;  /* its stream was collected: nobody will pull any more */
} producer;

/* What users hold. User values: the producer's Task, before the first pull the function; the arguments.
 */
typedef struct stream {
  neapL__state *state;
  producer *producer; /* NULL: not begun */
  bool is_beginning;  /* the producer is being made */
  bool is_over;
} stream;

enum { STREAM_PRODUCER = 1, STREAM_ARGUMENTS };

/* User value of the producer's Task, besides its outcome: the coroutine while it is parked. */
enum { PRODUCER_THREAD = 2 };

static const neapL__row next_row = {"stream:next", NULL, NULL, NULL, NULL};
static const neapL__row close_row = {"stream:close", NULL, NULL, NULL, NULL};

static stream *check_stream(lua_State *L) {
  return neapL__check_object(L, 1, &neapL__state_here(L)->stream_meta, "neap.Stream");
}

static neap_task *core_of(producer *self) {
  return &self->task.routine.task;
}

static bool is_over(const stream *self) {
  const producer *from = self->producer;
  if (self->is_over || !from) return self->is_over;
  return from->is_abandoned || from->task.routine.task.status != NEAP_PENDING;
}

/* ---- Pulls --------------------------------------------------------------------------------- */

static pull *of_task(const neap_task *task) {
  return NEAP__CONTAINER(task, pull, task);
}

/* The producer is told by way of the tree, and the pull ends when it has. */
static void cancel_pull(neap_task *task) {
  task->node.is_requested = true;
  neap__node_changed(&task->node);
}

static void reach_pull(neap_task *task) {
  (void)task;
}

static bool keeps_waiters(const neap_task *task) {
  (void)task;
  return true;
}

static neap_task *awaited(const neap_task *task) {
  return &of_task(task)->producer->routine.task;
}

static const neap__task_kind pull_kind = {.name = "stream:next",
                                          .has_below = true,
                                          .cancel = cancel_pull,
                                          .reach = reach_pull,
                                          .keeps_waiters = keeps_waiters,
                                          .awaited = awaited};

/* Pushes a pull below the current scope. It is pinned before it is in the tree, since that may
 * raise. */
static pull *push_pull(lua_State *L, neapL__state *state, const neapL__row *row) {
  pull *self = neapL__new_embedded(L, state, sizeof *self, 1);
  self->handle = (neapL__handle){&self->task, row};
  self->producer = NULL;
  lua_pushvalue(L, -1);
  uint32_t pin = neapL__pin(L, state);
  neap__task_init(&self->task, state->loop, &pull_kind);
  neap__loop_unanchor(state->loop); /* the Lua state keeps the loop */
  self->task.host = pin;
  return self;
}

static void begin_pull(neapL__state *state, pull *self, producer *from) {
  self->producer = &from->task;
  from->current = self;
  state->loop->operations++;
}

/* Its outcome was set before. */
static void end_pull(neapL__state *state, producer *from, neap_status status) {
  pull *self = from->current;
  from->current = NULL;
  if (self->task.node.is_requested) neapL__forget_cancelled(state->aux, state, &self->task.node);
  self->task.loop->operations--;
  neap__task_settle(&self->task, status);
  neap__node_forget_cause(&self->task.node, state->loop);
}

/* A pull that never began, since there was no memory for its producer. */
static void drop_pull(lua_State *L, neapL__state *state, pull *self) {
  neapL__slot_free(L, &state->pins, self->task.host);
  self->task.host = 0;
  neap__node_detach(&self->task.node);
}

/* ---- The producer --------------------------------------------------------------------------- */

/* The list of bodies is for those that run. */
static void move_to(neap__list *list, neapL__task *task) {
  neap__list_unlink(&task->link);
  neap__list_append(list, &task->link);
}

/* While it is parked nothing but its Task keeps the coroutine, so that a stream which its own body
 * refers to can be collected. [-0, +0, -] */
static void release_coroutine(lua_State *L, neapL__state *state, producer *self) {
  lua_pushthread(L);
  lua_setiuservalue(L, lua_upvalueindex(2), PRODUCER_THREAD);
  neapL__slot_free(L, &state->coroutines, self->task.co.slot);
  self->task.co.slot = 0;
}

/* The opposite, before it runs again. The stream is at 1. If the pull comes to nothing for want of
 * memory the coroutine stays in the table until the next one. [-0, +0, m] */
static void anchor(lua_State *L, neapL__state *state, producer *self) {
  if (self->task.co.slot) return;
  lua_getiuservalue(L, 1, STREAM_PRODUCER);
  lua_getiuservalue(L, -1, PRODUCER_THREAD);
  self->task.co.slot = neapL__slot_give(L, &state->coroutines);
  lua_pop(L, 1);
}

/* Off the tree until the next pull. The pull's Task has its outcome. */
static void park(neapL__state *state, producer *self) {
  neap__routine_park(&self->task.routine);
  move_to(&state->parked, &self->task);
  end_pull(state, self, NEAP_DONE);
}

static void unpark(neapL__state *state, producer *self, neap__node *parent, neap_scope *owner) {
  neap__routine_adopt(&self->task.routine, parent, owner);
  move_to(&state->bodies, &self->task);
}

/* Nobody pulls any more: it is closed as a task in the background, which needs no memory. */
static void abandon(neapL__state *state, producer *self) {
  self->is_closing = self->is_abandoned = true;
  unpark(state, self, &state->loop->root.node, NULL);
  neap__routine_wake(&self->task.routine, NEAP__WAKE_TURN);
}

/* The next pull, or the end. */
static int yielded(lua_State *L, int status, lua_KContext context) {
  neapL__state *state = (neapL__state *)context;
  producer *self = (producer *)neapL__current(state);
  (void)status;
  if (self->is_closing) {
    neapL__push_ref(L, state->close_signal_ref);
    return lua_error(L);
  }
  if (neap__routine_is_cancelled(&self->task.routine)) return neapL__raise_cancelled(L, state);
  return 0;
}

/* yield(...) in a producer: gives the values to who pulls. Upvalues: the state, the producer's Task. */
static int yield(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  producer *self = lua_touserdata(L, lua_upvalueindex(2));
  if (neapL__current(state) != &self->task || self->task.co.thread != L)
    return neapL__misuse(L,
                         "yield outside of the stream's own body: only the function that was given "
                         "to neap.stream may call it, and not from another task or coroutine");
  neapL__check_awaiting(L, state);
  if (self->closers.count > 0) self->is_closing = true; /* its pull was cancelled, and it went on */
  if (self->is_closing) { /* once more: not before the others had their turn, as with Cancelled (C5) */
    neap__routine_wake(&self->task.routine, NEAP__WAKE_TURN);
    return lua_yieldk(L, 0, (lua_KContext)state, yielded);
  }
  int n = lua_gettop(L);
  neapL__slot_push(L, &state->pins, self->current->task.host);
  lua_insert(L, 1);
  neapL__set_results(L, 1, &self->current->task, n);
  park(state, self);
  if (self->is_abandoned)
    abandon(state, self);
  else
    release_coroutine(L, state, self);
  lua_settop(L, 0);
  return lua_yieldk(L, 0, (lua_KContext)state, yielded);
}

/* Gives the outcome of the producer, whose Task is at `index`, to the pull, whose Task is on top. */
static void copy_outcome(lua_State *L, int index, const neap_task *from, pull *to) {
  int kept = from->flags & (NEAPL__HAS_FAILURE | NEAPL__HAS_ERROR | NEAPL__HAS_ONE);
  if (from->status == NEAP_DONE || !kept) return; /* what the body returns is nobody's */
  to->task.flags |= (uint16_t)kept;
  lua_getiuservalue(L, index, 1);
  if (kept & NEAPL__HAS_FAILURE) {
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, -2, NEAPL__FAILURE_TASK);
    if (to->task.flags & NEAPL__IS_OBSERVED) neapL__failure_observed(lua_touserdata(L, -1));
  }
  lua_setiuservalue(L, -2, 1);
}

/* A close waits for the producer also in a scope that is cancelled: the end is near. */
static neap_task *closed_producer(const neap__waiter *waiter) {
  return core_of(NEAP__CONTAINER(waiter->queue, producer, closers));
}

static void wake_closers(producer *self) {
  for (neap__waiter *waiter; (waiter = neap__queue_first(&self->closers));)
    neap__waiter_settle(waiter, NEAP_DONE);
}

void neapL__producer_ended(lua_State *L, int index, neapL__state *state, neapL__task *task) {
  producer *self = (producer *)task;
  pull *current = self->current;
  if (!current) return;
  neapL__slot_push(L, &state->pins, current->task.host);
  copy_outcome(L, index, core_of(self), current);
  end_pull(state, self, neap_task_status(core_of(self)));
  lua_pop(L, 1);
  wake_closers(self);
}

/* ---- Pulling ------------------------------------------------------------------------------- */

/* The stream is at 1, a new pull on top. Makes the producer below the pull. */
static producer *push_producer(lua_State *L, neapL__state *state, stream *self, pull *current) {
  int base = lua_gettop(L);
  neapL__start where = {&current->task.node, neap__current_owner(state->loop), false, false, false};
  lua_pushlightuserdata(L, state);
  lua_pushnil(L); /* the producer, when there is one */
  lua_pushcclosure(L, yield, 2);
  lua_getiuservalue(L, 1, STREAM_PRODUCER);
  lua_pushvalue(L, base + 1);
  lua_getiuservalue(L, 1, STREAM_ARGUMENTS);
  neapL__unpack(L);
  producer *made = (producer *)neapL__new_task(L, state, base + 2, base + 3, where, sizeof *made);
  made->task.is_producer = true;
  made->is_closing = made->is_abandoned = false;
  made->current = NULL;
  neap__queue_init(&made->closers, state->loop);
  lua_pushvalue(L, -1);
  lua_setupvalue(L, base + 1, 2);
  lua_setiuservalue(L, 1, STREAM_PRODUCER);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, STREAM_ARGUMENTS);
  lua_settop(L, base);
  self->producer = made;
  return made;
}

typedef struct begin_call {
  neapL__state *state;
  stream *self;
  pull *current;
} begin_call;

/* (stream, call, pull) */
static int begin_protected(lua_State *L) {
  const begin_call *call = lua_touserdata(L, 2);
  push_producer(L, call->state, call->self, call->current);
  return 0;
}

/* The first pull, on top of L. When there is no memory for a producer, the pull was none. */
static void begin_producer(lua_State *L, neapL__state *state, stream *self, pull *current) {
  begin_call call = {state, self, current};
  neap__node_attach(&current->task.node, neap__current_node(state->loop));
  lua_pushcfunction(L, begin_protected);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, &call);
  lua_pushvalue(L, -4);
  self->is_beginning = true;
  int status = lua_pcall(L, 3, 0, 0);
  self->is_beginning = false;
  if (status == LUA_OK) return;
  drop_pull(L, state, current);
  lua_error(L);
}

/* Runs the producer below the pull on top of L, then goes on with `next`. */
static int pull_from(lua_State *L, neapL__state *state, stream *self, pull *current,
                     lua_KFunction next) {
  if (!self->producer) {
    begin_producer(L, state, self, current);
    begin_pull(state, current, self->producer);
  } else {
    neap__node_attach(&current->task.node, neap__current_node(state->loop));
    begin_pull(state, current, self->producer);
    unpark(state, self->producer, &current->task.node, neap__current_owner(state->loop));
  }
  return neapL__run_now(L, state, &self->producer->task, next, lua_gettop(L));
}

/* A task in a scope of the producer cannot use the stream: each would hang below the other. */
static void check_outside(lua_State *L, const neapL__state *state, const producer *from) {
  const neap__node *top = from ? &from->task.routine.task.node : NULL;
  if (!top || !top->last_child) return;
  for (const neap__node *node = neap__current_node(state->loop); node; node = node->parent)
    if (node == top)
      neapL__misuse(L, "a stream is used by a task in a scope of its own body: it would wait for "
                       "itself; use it outside");
}

/* Making a pull may have run a finalizer that uses the same stream. */
static bool is_changed(const stream *self) {
  const producer *from = self->producer;
  return is_over(self) || (from && (from->current || !from->task.co.slot));
}

static bool is_pulled(const stream *self) {
  return self->is_beginning || (self->producer && self->producer->current);
}

/* Pushes the Task of the next values, and goes on with `next`. */
static int start_next(lua_State *L, stream *self, lua_KFunction next) {
  neapL__state *state = self->state;
  neapL__check_open(L, state);
  lua_settop(L, 1);
  if (is_pulled(self))
    return neapL__misuse(L,
                         "two next() at once on one stream: await the first one before the next");
  check_outside(L, state, self->producer);
  if (neapL__is_cancelled_here(state)) {
    neapL__push_cancelled_here(L, state);
    return next(L, LUA_OK, 2);
  }
  if (is_over(self)) {
    neapL__push_done(L, state);
    return next(L, LUA_OK, 2);
  }
  if (self->producer) {
    neapL__inherit_locals(L, state, &self->producer->task);
    anchor(L, state, self->producer);
  }
  pull *current = push_pull(L, state, &next_row);
  if (!is_changed(self)) return pull_from(L, state, self, current, next);
  drop_pull(L, state, current);
  return start_next(L, self, next);
}

static int pulled(lua_State *L, int status, lua_KContext index) {
  (void)status;
  lua_settop(L, (int)index);
  return 1;
}

/* s:next() -> Task of the next values; of none at the end */
static int stream_next(lua_State *L) {
  return start_next(L, check_stream(L), pulled);
}

static int await_pull(lua_State *L, int status, lua_KContext index) {
  (void)status;
  lua_settop(L, (int)index);
  return neapL__await(L, neapL__state_here(L), (int)index);
}

/* for ... in f(...) do */
static int stream_call(lua_State *L) {
  stream *self = check_stream(L);
  neapL__check_awaiting(L, self->state);
  return start_next(L, self, await_pull);
}

/* ---- Closing ------------------------------------------------------------------------------- */

/* A pull is pending, of another task: it is cancelled, so that the producer ends. */
static int cancel_and_wait(lua_State *L, neapL__state *state, producer *from, lua_KFunction next) {
  neapL__push_kept_waiter(L, state, &close_row, &from->closers, 1, closed_producer);
  if (!from->current)
    wake_closers(from); /* a finalizer has ended it meanwhile */
  else if (!from->is_closing)
    neap_task_cancel(&from->current->task);
  return next(L, LUA_OK, lua_gettop(L));
}

/* Pushes a Task that ends with the producer, and goes on with `next`. A pull that is pending is
 * cancelled. In a cancelled scope it closes all the same (SPEC 223). */
static int start_close(lua_State *L, stream *self, lua_KFunction next) {
  neapL__state *state = self->state;
  producer *from = self->producer;
  int top = lua_gettop(L);
  neapL__check_open(L, state);
  if (self->is_beginning)
    return neapL__misuse(L, "close of a stream whose first next() has not returned yet");
  if (!from) self->is_over = true;
  if (is_over(self)) {
    neapL__push_done(L, state);
    return next(L, LUA_OK, lua_gettop(L));
  }
  check_outside(L, state, from);
  if (&from->task == neapL__current(state))
    return neapL__misuse(L, "close of a stream by its own body: return from it instead");
  if (from->current) return cancel_and_wait(L, state, from, next);
  anchor(L, state, from);
  pull *closing = push_pull(L, state, &close_row);
  if (is_changed(self)) {
    drop_pull(L, state, closing);
    lua_settop(L, top);
    return start_close(L, self, next);
  }
  from->is_closing = true;
  return pull_from(L, state, self, closing, next);
}

/* s:close() -> Task: done when the body has ended */
static int stream_close(lua_State *L) {
  stream *self = check_stream(L);
  lua_settop(L, 1);
  return start_close(L, self, pulled);
}

/* The body has ended. Frame: [1] the stream, [2] the error that leaves the block. */
static int closed(lua_State *L, int status, lua_KContext index) {
  neapL__state *state = neapL__state_here(L);
  const neapL__handle *handle = lua_touserdata(L, (int)index);
  (void)status;
  if (handle->task->status != NEAP_FAILED) return 0;
  neapL__push_error(L, state, (int)index);
  return lua_error(L);
}

/* Waits for the end also in a cancelled scope: the same cancellation ends the body. */
static int await_closed(lua_State *L, int status, lua_KContext index) {
  neapL__task *task = neapL__current(neapL__state_here(L));
  const neapL__handle *handle = lua_touserdata(L, (int)index);
  lua_settop(L, (int)index);
  if (handle->task->status != NEAP_PENDING) return closed(L, status, index);
  if (!task || task->co.thread != L || !lua_isyieldable(L)) return 0; /* it ends by itself */
  neap__routine_await(&task->routine, handle->task);
  return lua_yieldk(L, 0, index, closed);
}

static int stream_close_block(lua_State *L) {
  stream *self = check_stream(L);
  lua_settop(L, 2);
  if (self->state->is_closing) return 0; /* its body is closed with all others */
  return start_close(L, self, await_closed);
}

/* Nobody can pull any more: the body ends in the background, of the next run if none is active. */
static int stream_gc(lua_State *L) {
  const stream *self = lua_touserdata(L, 1);
  neapL__state *state = self->state;
  producer *from = self->producer;
  if (!from || state->is_closing || is_over(self) || from->is_abandoned) return 0;
  if (from->current) {
    from->is_abandoned = true;
  } else {
    anchor(L, state, from);
    abandon(state, from);
  }
  return 0;
}

/* ---- Making -------------------------------------------------------------------------------- */

/* f(...) -> stream, nil, nil, stream. Upvalues: the state, the body. */
static int new_stream(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neapL__check_open(L, state);
  neapL__pack(L, lua_gettop(L));
  stream *self = lua_newuserdatauv(L, sizeof *self, 2);
  *self = (stream){.state = state};
  lua_insert(L, 1);
  lua_setiuservalue(L, 1, STREAM_ARGUMENTS);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_setiuservalue(L, 1, STREAM_PRODUCER);
  neapL__set_meta(L, 1, &state->stream_meta);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, 1);
  return 4;
}

/* neap.stream(function(yield, ...) end) -> f */
static int stream_of(lua_State *L) {
  neapL__check_callable(L, 1);
  lua_settop(L, 1);
  lua_pushlightuserdata(L, neapL__state_here(L));
  lua_insert(L, 1);
  lua_pushcclosure(L, new_stream, 2);
  return 1;
}

static int stream_tostring(lua_State *L) {
  const stream *self = check_stream(L);
  const char *text = ": not begun";
  if (is_over(self))
    text = ": ended";
  else if (self->producer)
    text = self->producer->current ? ": running" : "";
  lua_pushfstring(L, "neap.Stream%s", text);
  return 1;
}

static const luaL_Reg stream_methods[] = {
    {"next", stream_next}, {"close", stream_close}, {NULL, NULL}};

static const luaL_Reg stream_metamethods[] = {{"__call", stream_call},
                                              {"__close", stream_close_block},
                                              {"__gc", stream_gc},
                                              {"__tostring", stream_tostring},
                                              {NULL, NULL}};

void neapL__open_streams(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->stream_meta, "neap.Stream", stream_metamethods, stream_methods);
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "the stream was closed");
  lua_setfield(L, -2, "reason");
  neapL__set_meta(L, -1, &state->cancelled_meta);
  state->close_signal_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

const luaL_Reg neapL__stream_functions[] = {{"stream", stream_of}, {NULL, NULL}};
