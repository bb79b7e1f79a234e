/* Scopes in Lua: function forms (scope, timeout, try_for, group, shield) and close forms (group,
 * deadline). All share one way out: cancel on error, join, close, decide. */
#ifndef NEAPLUA_SCOPE_H
#define NEAPLUA_SCOPE_H

#include "error.h"
#include "token.h"

typedef enum neapL__scope_mode {
  NEAPL__SCOPE,
  NEAPL__TIMEOUT,
  NEAPL__TRY_FOR,
  NEAPL__GROUP,
  NEAPL__SHIELD,
  NEAPL__DEADLINE,
  NEAPL__TOKEN
} neapL__scope_mode;

/* In a userdata, pinned while open. User values: the table `errors`, the object of its token (TOKEN:
 * of the one it was opened with). */
typedef struct neapL__scope {
  neap_scope scope;
  neapL__state *state;
  neap_registration registration; /* TOKEN: with the token */
  neap_token *token;              /* TOKEN: with a reference, while it is open */
  neapL__failure *first;          /* GROUP: the failure that cancelled it; pinned with first_pin */
  uint32_t first_pin;
  uint8_t mode;
  bool is_function_form;
  bool timed_out;     /* TOKEN: the token has */
  bool has_cancelled; /* there is a Cancelled object for it */
  bool caught;        /* it has absorbed its own Cancelled */
  bool is_exiting;
  bool has_joined; /* the exit had to wait */
  char where[];    /* the position of its opening, for warnings */
} neapL__scope;

void neapL__open_scopes(lua_State *L, neapL__state *state);

/* Closes a scope that its task has left open, at the end of the task. True if it must wait for the
 * tasks in it first. [-0, +0, m] */
bool neapL__leave_leaked(lua_State *L, neapL__state *state, neapL__task *task, bool has_failed);

/* Closes the scopes that were left open inside `outer`. [-0, +0, m] */
void neapL__leave_inner(lua_State *L, neapL__state *state, neapL__task *task,
                        const neap__node *outer);

/* Whether it was cancelled by its time limit, or by that of its token. */
bool neapL__scope_timed_out(const neap_scope *scope);

/* Takes a scope off its task, which ends without being run. */
void neapL__scope_abandon(neapL__state *state, neap_scope *scope);

/* A task of the group has failed: its failure userdata is on top. */
void neapL__group_failed(lua_State *L, neapL__state *state, neap_scope *scope,
                         neapL__failure *failure);

/* neap.shield: calls the function at 1 with what is above it, and ends the C function. [raises] */
int neapL__shield(lua_State *L);

extern const luaL_Reg neapL__scope_functions[];

#endif
