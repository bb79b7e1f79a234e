#include "native.h"

#include "driver.h"
#include "operations.h"

/* Tasks of C as Tasks of Lua. */

int neapL__push_task_values(lua_State *L, neapL__state *state, int index) {
  const neapL__handle *handle = lua_touserdata(L, index);
  (void)state;
  return neapL_push_values(L, neap_task_values(handle->task));
}

static const neapL__row task_row = {.name = "task", .push = neapL__push_task_values};

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

/* Pushes the Task that it has already; false (nothing pushed): it has none any more. Two would share what
 * the flags of the task say, and not the outcome that they say it of. */
static bool push_former(lua_State *L, const neapL__state *state, neap_task *task) {
  if (!(task->flags & NEAPL__IS_PUSHED)) return false;
  neapL__push_ref(L, state->pushed_ref);
  lua_rawgetp(L, -1, task);
  lua_remove(L, -2);
  if (lua_type(L, -1) == LUA_TUSERDATA) return true;
  lua_pop(L, 1);
  task->flags = 0; /* its outcome went with its Task */
  return false;
}

static neapL__handle *push_handle_with(lua_State *L, neapL__state *state, neapL_push push) {
  if (!push) return neapL__push_handle(L, state, &task_row, 1);
  pushed_task *pushed = lua_newuserdatauv(L, sizeof *pushed, 1);
  *pushed = (pushed_task){.row = {.name = "task", .push = push_by_host}, .push = push};
  pushed->handle = (neapL__handle){NULL, &pushed->row};
  neapL__set_meta(L, -1, &state->handle_meta);
  return &pushed->handle;
}

static int push_task(lua_State *L) {
  const pushing *self = lua_touserdata(L, 1);
  neapL__state *state = neapL__need(L);
  if (push_former(L, state, self->task)) {
    neap_task_unref(self->task);
    return 1;
  }
  neapL__handle *handle = push_handle_with(L, state, self->push);
  neapL__push_ref(L, state->pushed_ref);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, self->task);
  lua_pop(L, 1);
  self->task->flags |= NEAPL__IS_PUSHED;
  handle->task = self->task;
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
