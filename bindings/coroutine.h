/* Coroutines as the bodies of tasks: the pool, the start, and the flat run.
 *
 * A body runs as  body(handler, Task, fn, ...) -> lua_pcallk(fn, ...)  in a thread of the pool. */
#ifndef NEAPLUA_COROUTINE_H
#define NEAPLUA_COROUTINE_H

#include "task.h"

typedef struct neapL__start {
  neap__node *parent; /* where it hangs */
  neap_scope *owner;  /* NULL: background */
  bool in_group;
  bool is_watched; /* it should be awaited (watch.h) */
  bool is_queued;  /* it begins in a turn of its own */
} neapL__start;

/* Starts the function at `function` (may be an upvalue) with the arguments from `first` to the top, as
 * a task: it runs to its first wait. Returns like a C function with the Task as its result (it may
 * yield). [-0, +1, m] */
int neapL__start_task(lua_State *L, neapL__state *state, int function, int first,
                      neapL__start where);

/* Pops task-local values, or nil, and starts the function at `function`, with what is above it, as a task in the
 * background that has them. For what neapL__call_starter calls. [-1, +0, m] */
void neapL__start_background(lua_State *L, neapL__state *state, int function);
/* Calls the function below n values on top, and reports what it raises, for want of
 * memory. [-(n+1), +0, -] */
void neapL__call_starter(lua_State *L, neapL__state *state, int n);

/* Makes the task without running it; its Task is pushed in a userdata of `size`, which begins with
 * neapL__task; what follows, and a second user value then, is the caller's to set. [-0, +1, m] */
neapL__task *neapL__new_task(lua_State *L, neapL__state *state, int function, int first,
                             neapL__start where, size_t size);

/* Runs a task that is new or parked, to its next wait, before the caller goes on. Returns like a C
 * function: `next` is called then, at once or after a yield, with the frame as it is. [-0, +0, m] */
int neapL__run_now(lua_State *L, neapL__state *state, neapL__task *task, lua_KFunction next,
                   lua_KContext context);

/* Closes all bodies, the youngest first, without resuming them. */
void neapL__close_bodies(lua_State *L, neapL__state *state);
/* ... and the producers that nobody pulls. */
void neapL__close_all(lua_State *L, neapL__state *state);
/* Closes one: its to-be-closed variables run, but cannot wait. */
void neapL__close_body(lua_State *L, neapL__state *state, neapL__task *task);

/* Raises an argument error unless the value at `index` can be called. */
void neapL__check_callable(lua_State *L, int index);

extern const luaL_Reg neapL__coroutine_functions[];

#endif
