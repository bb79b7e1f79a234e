/* Errors: neap.Error, neap.Cancelled, misuse, failures and their tracebacks. */
#ifndef NEAPLUA_ERROR_H
#define NEAPLUA_ERROR_H

#include "state.h"
#include "task.h"

/* The user values of a failure. */
enum { NEAPL__FAILURE_ERROR = 1, NEAPL__FAILURE_TRACEBACK, NEAPL__FAILURE_TASK };

/* A failure that somebody should see. It is a userdata of its own, so that only tasks that fail pay
 * for a __gc. User values: the error, the traceback, the Task. */
typedef struct neapL__failure neapL__failure;
struct neapL__failure {
  neap__list link; /* in its owner's failures, in state->lost or in state->reports */
  neapL__state *state;
  neap_scope *owner; /* NULL: nobody joins it */
  uint32_t pin;      /* once it is lost */
  uint32_t depth;    /* of the protected call that it is unwinding to; 0: it was caught */
  bool is_observed;
  bool is_root; /* its owner is the run */
};

void neapL__open_errors(lua_State *L, neapL__state *state);

/* Pushes a neap.Error. `message` NULL: the code's own. [-0, +1, m] */
void neapL__push_new_error(lua_State *L, neapL__state *state, const char *code,
                           const char *message);
/* The same from the core's error. */
void neapL__push_core_error(lua_State *L, neapL__state *state, const neap_error *error);

/* Raises EMISUSE at the position of the Lua function that called us. The message is formatted as by
 * lua_pushfstring. */
NEAPL__NORETURN int neapL__misuse(lua_State *L, const char *format, ...);

/* Whether the value at `index` is a Cancelled object. */
bool neapL__is_cancelled_object(lua_State *L, const neapL__state *state, int index);

/* Pushes the Cancelled object of a cancelled node, making it if need be. [-0, +1, m] */
void neapL__push_cancelled(lua_State *L, neapL__state *state, neap__node *node);
/* Forgets it: the node ends. */
void neapL__forget_cancelled(lua_State *L, neapL__state *state, neap__node *node);

/* Pushes the reason with which a node was cancelled. [-0, +1, -] */
void neapL__push_node_reason(lua_State *L, neapL__state *state, neap__node *node);

/* Pushes ECANCELLED for an awaited task at `index` that somebody else cancelled. [-0, +1, m] */
void neapL__push_cancelled_error(lua_State *L, neapL__state *state, int index);

/* The message handler of everything that runs on behalf of a task: takes the traceback. */
int neapL__handle_error(lua_State *L);

/* At the end of a protected call, which had task->depth: the error on top has arrived. Errors that
 * were raised on the way and replaced are reported as lost (SPEC 39, 85). [-0, +0, m] */
void neapL__error_arrived(lua_State *L, neapL__state *state, neapL__task *task);

/* Replaces the error on top by its failure, with the traceback that was taken where it was raised.
 * `task` NULL: without. [-1, +1, m] */
neapL__failure *neapL__make_failure(lua_State *L, neapL__state *state, neapL__task *task);

/* Forgets what was raised in a task: it has ended. */
void neapL__forget_captures(lua_State *L, neapL__state *state, neapL__task *task);

/* Takes a failure off the lists: somebody has seen it. */
void neapL__failure_observed(neapL__failure *failure);

/* Pushes the userdata of a failure; false (nothing pushed) if it was collected. */
bool neapL__push_failure(lua_State *L, neapL__state *state, const neapL__failure *failure);

/* "file:line" of the first Lua function at or above `level`, or "?". Pushes it. [-0, +1, m] */
void neapL__push_position(lua_State *L, int level);

/* The same of the innermost Lua function of a thread that does not run. [-0, +1, m] */
void neapL__push_thread_position(lua_State *L, lua_State *thread);

extern const luaL_Reg neapL__error_functions[];

#endif
