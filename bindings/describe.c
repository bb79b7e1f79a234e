#include "describe.h"

#include "error.h"
#include "operations.h"
#include "scope.h"

/* Pops a Task, pushes " 'name'" or "". */
static void push_quoted_name(lua_State *L, neapL__state *state) {
  neapL__push_name(L, state, -1);
  lua_remove(L, -2);
  const char *name = lua_tostring(L, -1);
  lua_pushfstring(L, name ? " '%s'" : "", name);
  lua_remove(L, -2);
}

void neapL__push_label(lua_State *L, neapL__state *state, neapL__task *task) {
  lua_pushfstring(L, "task %I", (LUAI_UACINT)task->routine.task.id);
  neapL__push_body_task(L, task);
  push_quoted_name(L, state);
  lua_concat(L, 2);
}

/* Pushes the Task of `target` if it is in the frame of the function that the thread waits in. */
static bool push_from_frame(lua_State *L, neapL__state *state, lua_State *thread,
                            const neap_task *target) {
  if (!lua_checkstack(thread, 1)) return false;
  for (int i = lua_gettop(thread); i > 0; i--) {
    lua_pushvalue(thread, i);
    lua_xmove(thread, L, 1);
    const neapL__handle *handle = neapL__to_handle(L, state, -1);
    if (handle && handle->task == target) return true;
    lua_pop(L, 1);
  }
  return false;
}

static void push_target(lua_State *L, neapL__state *state, neapL__task *task) {
  const neap_task *target = task->routine.wait.target;
  lua_State *thread = task->co.thread;
  lua_pushfstring(L, "awaits %s", target->kind->name);
  if (neapL__is_lua(target)) {
    lua_pop(L, 1);
    lua_pushliteral(L, "awaits ");
    neapL__push_label(L, state, neapL__task_of(neap__task_routine((neap_task *)(uintptr_t)target)));
    lua_concat(L, 2);
    return;
  }
  if (!push_from_frame(L, state, thread, target)) return;
  const neapL__handle *handle = lua_touserdata(L, -1);
  if (handle->row) {
    lua_pushfstring(L, "awaits %s", handle->row->name);
    lua_replace(L, -3);
  }
  push_quoted_name(L, state);
  lua_concat(L, 2);
}

static void push_state(lua_State *L, neapL__state *state, neapL__task *task) {
  const neap__routine *routine = &task->routine;
  if (routine->state == NEAP__RUNNING)
    lua_pushliteral(L, "running");
  else if (routine->state != NEAP__BLOCKED)
    lua_pushliteral(L, "ready");
  else if (routine->wait.target)
    push_target(L, state, task);
  else
    lua_pushfstring(L, "joins the scope opened at %s",
                    ((neapL__scope *)neap__routine_scope(routine))->where);
}

void neapL__push_line(lua_State *L, neapL__state *state, neapL__task *task) {
  luaL_checkstack(L, 12, "describing a task");
  neapL__push_label(L, state, task);
  lua_pushliteral(L, " at ");
  neapL__push_thread_position(L, task->co.thread);
  lua_pushliteral(L, ": pending, ");
  push_state(L, state, task);
  if (neap__routine_is_cancelled(&task->routine))
    lua_pushliteral(L, ", cancelled");
  else
    lua_pushliteral(L, "");
  lua_concat(L, 6);
}

size_t neapL__push_lines(lua_State *L, neapL__state *state, bool owned_only) {
  size_t n = 0;
  lua_newtable(L);
  for (neap__list *link = state->bodies.next; link != &state->bodies; link = link->next) {
    neapL__task *task = NEAP__CONTAINER(link, neapL__task, link);
    if (owned_only && !task->routine.owner) continue;
    neapL__push_line(L, state, task);
    lua_rawseti(L, -2, (lua_Integer)++n);
  }
  return n;
}

/* core.describe() -> list of lines */
static int describe(lua_State *L) {
  neapL__push_lines(L, neapL__state_here(L), false);
  return 1;
}

const luaL_Reg neapL__describe_functions[] = {{"describe", describe}, {NULL, NULL}};
