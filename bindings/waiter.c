#include "waiter.h"

#include "operations.h"
#include "watch.h"

#include "../core/loop.h"

/* ---- Waits --------------------------------------------------------------------------------- */

/* Pushes the Task of a wait, with its pin, before it is in the queue, since this may raise. */
static neapL__waiter *push_unstarted(lua_State *L, neapL__state *state, const neapL__row *row,
                                     neap_queue *queue, int owner, int user_values) {
  neapL__waiter *self = neapL__new_embedded(L, state, sizeof *self, user_values);
  self->handle = (neapL__handle){&self->waiter.task, row};
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, -1);
  uint32_t pin = neapL__pin(L, state);
  neap__waiter_init(&self->waiter, queue);
  neap__loop_unanchor(state->loop); /* the Lua state keeps the loop */
  self->waiter.task.host = pin;
  return self;
}

neapL__waiter *neapL__push_waiter(lua_State *L, neapL__state *state, const neapL__row *row,
                                  neap_queue *queue, int owner, bool carries) {
  int user_values = carries ? NEAPL__CARRIED : 1;
  neapL__waiter *self = push_unstarted(L, state, row, queue, owner, user_values);
  neapL__watch(L, state);
  neap__waiter_start(&self->waiter);
  return self;
}

neapL__waiter *neapL__push_kept_waiter(lua_State *L, neapL__state *state, const neapL__row *row,
                                       neap_queue *queue, int owner, neapL__awaited awaited) {
  neapL__waiter *self = push_unstarted(L, state, row, queue, owner, 1);
  self->waiter.awaited = awaited;
  neap__waiter_start(&self->waiter);
  return self;
}

void neapL__carry(lua_State *L) {
  neap_task *task = &neapL__waiter_at(L, -2)->waiter.task;
  if (task->status != NEAP_PENDING) {
    lua_pop(L, 1);
    return;
  }
  task->flags |= NEAPL__CARRIES;
  lua_setiuservalue(L, -2, NEAPL__CARRIED);
}

bool neapL__push_first(lua_State *L, neapL__state *state, const neap_queue *queue) {
  const neap__waiter *first = neap__queue_first(queue);
  if (!first) return false;
  neapL__slot_push(L, &state->pins, first->task.host);
  return true;
}

void neapL__wake(lua_State *L, int index) {
  neap__waiter_settle(&neapL__waiter_at(L, index)->waiter, NEAP_DONE);
}

void neapL__wake_with_error(lua_State *L, neapL__state *state, int index) {
  index = lua_absindex(L, index);
  neap__waiter *waiter = &neapL__waiter_at(L, index)->waiter;
  neapL__set_failure(L, state, index, &waiter->task);
  neap__waiter_settle(waiter, NEAP_FAILED);
}

/* ---- Queues for Lua ------------------------------------------------------------------------- */

/* A queue, and the row under which its waits are known: one for each name, which stays. */
typedef struct queue_object {
  neap_queue queue;
  const neapL__row *row;
} queue_object;

/* The row of the name at `index`. Tasks point to it, so it is never collected. */
static const neapL__row *row_of(lua_State *L, const neapL__state *state, int index) {
  neapL__push_ref(L, state->rows_ref);
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  neapL__row *row = lua_touserdata(L, -1);
  if (!row) {
    row = lua_newuserdatauv(L, sizeof *row, 0);
    *row = (neapL__row){lua_tostring(L, index), NULL, NULL, NULL, NULL};
    lua_pushvalue(L, index); /* the key keeps the name */
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_pop(L, 2);
  return row;
}

static queue_object *check_queue(lua_State *L) {
  return neapL__check_object(L, 1, &neapL__state_here(L)->queue_meta, "neap.Queue");
}

/* core.queue(name) -> queue; `name` says in reports what its waits wait for */
static int queue(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  luaL_checktype(L, 1, LUA_TSTRING);
  neapL__check_open(L, state);
  const neapL__row *row = row_of(L, state, 1);
  queue_object *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->row = row;
  neap__queue_init(&self->queue, state->loop);
  neapL__set_meta(L, -1, &state->queue_meta);
  return 1;
}

/* q:wait(carried?) -> Task of what it is woken with */
static int queue_wait(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  queue_object *self = check_queue(L);
  bool carries = !lua_isnoneornil(L, 2);
  neapL__check_open(L, state);
  neapL__push_waiter(L, state, self->row, &self->queue, 1, carries);
  if (carries) {
    lua_pushvalue(L, 2);
    neapL__carry(L);
  }
  return 1;
}

/* q:peek() -> what the first wait carries */
static int queue_peek(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const queue_object *self = check_queue(L);
  neapL__check_alive(L, state);
  if (neapL__push_first(L, state, &self->queue))
    lua_getiuservalue(L, -1, NEAPL__CARRIED);
  else
    lua_pushnil(L);
  return 1;
}

/* q:wake(...) -> whether there was a wait to end, with these results */
static int queue_wake(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const queue_object *self = check_queue(L);
  int n = lua_gettop(L) - 1;
  neapL__check_alive(L, state);
  bool is_woken = neapL__push_first(L, state, &self->queue);
  if (is_woken) {
    neapL__waiter *waiter = neapL__waiter_at(L, -1);
    lua_insert(L, 2);
    neapL__set_results(L, 2, &waiter->waiter.task, n);
    neapL__wake(L, 2);
  }
  lua_pushboolean(L, is_woken);
  return 1;
}

/* #q: how many wait */
static int queue_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_queue(L)->queue.count);
  return 1;
}

static const luaL_Reg queue_methods[] = {
    {"wait", queue_wait}, {"peek", queue_peek}, {"wake", queue_wake}, {NULL, NULL}};
static const luaL_Reg queue_metamethods[] = {{"__len", queue_length}, {NULL, NULL}};

void neapL__open_queues(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->queue_meta, "neap.Queue", queue_metamethods, queue_methods);
  lua_pop(L, 1);
}

const luaL_Reg neapL__queue_functions[] = {{"queue", queue}, {NULL, NULL}};
