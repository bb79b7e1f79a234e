#include "driver.h"
#include "operations.h"
#include "neaplua.h"

/* Tasks of C as Tasks of Lua. */

static int push_values(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  (void)state;
  return neapL_push_values(L, neap_task_values(handle->task));
}

static const neapL__row task_row = {.name = "task", .push = push_values};

typedef struct pushing {
  neap_task *task;
  neapL_push push;
} pushing;

/* A handle with a row of its own. */
typedef struct pushed_task {
  neapL__handle handle;
  neapL__row row;
  neapL_push push;
} pushed_task;

static int push_by_host(lua_State *L, neapL__state *state, int index) {
  const pushed_task *self = lua_touserdata(L, index);
  (void)state;
  return self->push(L, self->handle.task);
}

static int push_task(lua_State *L) {
  pushing *self = lua_touserdata(L, 1);
  neapL__state *state = neapL__need(L);
  if (!self->push) {
    neapL__push_handle(L, state, &task_row, 1)->task = self->task;
    return 1;
  }
  pushed_task *pushed = lua_newuserdatauv(L, sizeof *pushed, 1);
  *pushed = (pushed_task){.row = {.name = "task", .push = push_by_host}, .push = self->push};
  pushed->handle = (neapL__handle){NULL, &pushed->row};
  neapL__set_meta(L, -1, &state->handle_meta);
  pushed->handle.task = self->task;
  return 1;
}

/* Protected: the reference is taken over also where there is no memory for the Task. */
void neapL_push_task_with(lua_State *L, neap_task *task, neapL_push push) {
  pushing self = {task, push};
  lua_pushcfunction(L, push_task);
  lua_pushlightuserdata(L, &self);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  neap_task_unref(task);
  lua_error(L);
}

void neapL_push_task(lua_State *L, neap_task *task) {
  neapL_push_task_with(L, task, NULL);
}

neap_task *neapL_to_task(lua_State *L, int index) {
  neapL__state *state = neapL__state_get(L);
  const neapL__handle *handle = state ? neapL__to_handle(L, state, index) : NULL;
  return handle ? handle->task : NULL;
}
