/* The Task of Lua: methods, outcomes, and the conversions between Lua values and core tasks.
 *
 * Two kinds of userdata begin with the same struct, neapL__handle: tasks with a Lua body and
 * completions have their core task in the userdata itself and need no __gc; operations have a
 * reference to a task of the core. Each has one user value for the outcome. */
#ifndef NEAPLUA_TASK_H
#define NEAPLUA_TASK_H

#include "state.h"

/* How an operation's outcome becomes Lua values: one row for each (operations.c). */
typedef struct neapL__row neapL__row;

typedef struct neapL__handle {
  neap_task *task;
  const neapL__row *row; /* of operations */
} neapL__handle;

/* Flags of neap_task.flags: what the user value holds. */
enum {
  NEAPL__HAS_ONE = 1,      /* the only result, or the reason of a cancellation */
  NEAPL__HAS_PACKED = 2,   /* a table of results with n */
  NEAPL__HAS_FAILURE = 4,  /* a neap.Failure (error.h) */
  NEAPL__HAS_ERROR = 8,    /* the error value itself: there was no memory for more */
  NEAPL__IS_OBSERVED = 16, /* its failure, present or to come, is not reported */
  NEAPL__IS_COMPLETION = 32,
  NEAPL__IS_CANCELLED = 64, /* the body has ended so; it is settled a moment later */
  NEAPL__IS_TOUCHED = 128,  /* awaited, observed or cancelled: not forgotten (watch.h) */
  NEAPL__IS_ITEM = 256,     /* the results follow a `true`: something was received */
  NEAPL__IS_PUSHED = 1024,  /* a task of C that has, or had, a Task */
  NEAPL__CARRIES = 512      /* a wait: its second user value ends with it (waiter.h) */
};

/* A task whose body is a Lua coroutine. In the userdata of its Task. */
struct neapL__task {
  neapL__handle handle;
  neap__routine routine;
  neap__list link;          /* in state->bodies, in the order of creation */
  neapL__coroutine co;      /* while it has not ended */
  neapL__task *starter;     /* whom to resume when it has suspended first */
  neap__node *swallowed_by; /* the scope whose Cancelled is counted, and how often it was raised */
  uint32_t swallowed;
  uint32_t depth;       /* protected calls of ours around what it runs */
  int arguments;        /* for the next resume */
  const void *rethrown; /* the failure that its last await raised, only to be compared */
  uint32_t locals;      /* slot of its task-local values; 0: none */
  bool in_group;        /* g:spawn: its failure cancels the group */
  bool has_cancelled;   /* there is a Cancelled object for its root scope */
  bool is_producer;     /* of a stream (stream.h) */
  bool has_captures;    /* errors were raised in it (error.c) */
};

static inline neapL__task *neapL__task_of(neap__routine *routine) {
  return routine ? NEAP__CONTAINER(routine, neapL__task, routine) : NULL;
}

extern const neap__task_kind neapL__body_kind;

/* Whether a task has a Lua body; others are written in C. */
static inline bool neapL__is_lua(const neap_task *task) {
  return task->kind == &neapL__body_kind;
}

/* Whether a scope was opened by Lua, and so begins a neapL__scope; others are the root's, and those of C
 * steps. */
static inline bool neapL__is_lua_scope(const neap_scope *scope) {
  return scope->task && neapL__is_lua(&scope->task->task);
}

/* The Lua task that runs now, or NULL. */
static inline neapL__task *neapL__current(const neapL__state *state) {
  neap__routine *routine = state->is_closed ? NULL : state->loop->current;
  return routine && neapL__is_lua(&routine->task) ? neapL__task_of(routine) : NULL;
}

/* Whether what is started now is cancelled at once (C4). */
static inline bool neapL__is_cancelled_here(const neapL__state *state) {
  return neap__node_is_cancelled(neap__current_node(state->loop));
}

/* Pops n values, pushes a table of them with `n`; and the opposite, which returns how many. [m] */
void neapL__pack(lua_State *L, int n);
int neapL__unpack(lua_State *L);

void neapL__open_tasks(lua_State *L, neapL__state *state);
/* What needs the loop. */
void neapL__open_done(lua_State *L, neapL__state *state);

/* The handle at `index`, NULL if it is no Task. */
neapL__handle *neapL__to_handle(lua_State *L, neapL__state *state, int index);
/* The same; raises an argument error. */
neapL__handle *neapL__check_handle(lua_State *L, int index);

/* Raises EMISUSE: the handle has no task any more, its finalizer has run. */
NEAPL__NORETURN void neapL__misuse_finalized(lua_State *L);

/* A handle without a task: whoever acquires one puts it there, and its reference with it.
 * [-0, +1, m] */
neapL__handle *neapL__push_handle(lua_State *L, neapL__state *state, const neapL__row *row,
                                  int user_values);

/* Pushes element i (from 0 on) of the combined task at `index`. [-0, +1, -] */
void neapL__push_element(lua_State *L, int index, size_t i);

/* A cause that carries the value at `index` as its reason; NULL for nil. [-0, +0, m] */
neap__cause *neapL__new_cause(lua_State *L, neapL__state *state, int index);

/* Pushes the name of the Task at `index`, nil if it has none. [-0, +1, -] */
void neapL__push_name(lua_State *L, neapL__state *state, int index);

/* A new userdata for an embedded task of `size`; its outcome is user value 1. [-0, +1, m] */
void *neapL__new_embedded(lua_State *L, neapL__state *state, size_t size, int user_values);

/* Pops the n values on top of L and makes them the outcome of the Task at `index`. [-n, +0, m] */
void neapL__set_results(lua_State *L, int index, neap_task *task, int n);

/* Pushes a Task that is done, with no results: always the same one. [-0, +1, -] */
static inline void neapL__push_done(lua_State *L, const neapL__state *state) {
  neapL__push_ref(L, state->done_ref);
}

/* Pushes a Task that the cancellation of the current scope has cancelled. [-0, +1, m] */
void neapL__push_cancelled_here(lua_State *L, neapL__state *state);

/* Pops the n values on top and pushes a Task that is done with them. [-n, +1, m] */
neap_task *neapL__push_completed(lua_State *L, neapL__state *state, int n);

/* Pops the error on top and pushes a Task that has failed with it. [-1, +1, m] */
void neapL__push_failed(lua_State *L, neapL__state *state);

/* The same for an operation, whose errors nobody is told of unless they are awaited. [-1, +1, m] */
void neapL__push_failed_operation(lua_State *L, neapL__state *state);

/* Pops the error on top: the pending embedded task at `index` is going to fail with it. Without memory
 * for a failure it has the error itself, which nobody hears of then. Settle it next. [-1, +0, -] */
void neapL__set_failure(lua_State *L, neapL__state *state, int index, neap_task *task);

/* Pushes the results of a done task; returns how many. [-0, +n, m] */
int neapL__push_results(lua_State *L, neapL__state *state, int index);

/* Pushes the error of a failed task, and marks it observed. [-0, +1, m] */
void neapL__push_error(lua_State *L, neapL__state *state, int index);

/* Pushes the reason of a cancelled task, nil if none. [-0, +1, m] */
void neapL__push_reason(lua_State *L, int index);

/* The failure behind the Task at `index`, for combined tasks that of the element that decided; NULL
 * if there is none. */
struct neapL__failure *neapL__failure_at(lua_State *L, int index);

/* Marks a task as observed: its failure is not reported. [-0, +0, -] */
void neapL__observe(lua_State *L, int index);

/* Pushes the Task of a task with a Lua body that has not ended. [-0, +1, -] */
void neapL__push_body_task(lua_State *L, neapL__task *task);

extern const luaL_Reg neapL__task_functions[];

#endif
