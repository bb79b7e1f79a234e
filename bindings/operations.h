/* Native operations as Tasks: a table of rows {name, kind, read arguments, push results}. */
#ifndef NEAPLUA_OPERATIONS_H
#define NEAPLUA_OPERATIONS_H

#include "../core/op.h"
#include "task.h"

struct neapL__row {
  const char *name; /* as in error messages: "fs.read_file" */
  const neap__op_kind *kind;
  /* Reads and checks the arguments of the call, from index 1 on, into the operation; raises argument
   * errors. Absent optional ones are nil; there may be more values behind them. NULL: none. */
  void (*read)(lua_State *L, neap__op *op);
  /* Pushes the results of the done operation whose Task is at `index`; called once, what it takes it
   * takes over. NULL: no results. */
  int (*push)(lua_State *L, neapL__state *state, int index);
  /* Adds fields to the error or Cancelled object on top: how far it got. False: there is nothing to tell.
   * NULL: never. */
  bool (*detail)(lua_State *L, neap__op *op);
};

/* Starts the operation of a row with the arguments on the stack; pushes its Task. What ends on the spot
 * has a Task without a finalizer, which is most of its cost. [-0, +1, m] */
void neapL__start_operation(lua_State *L, neapL__state *state, const neapL__row *row);

/* Gives the handle at `index`, which nobody in Lua knows, to the next operation. [-0, +0, -] */
void neapL__put_back(lua_State *L, neapL__state *state, int index);

/* Pushes the error of the failed operation behind a handle. [-0, +1, m] */
void neapL__push_operation_error(lua_State *L, neapL__state *state, const neapL__handle *handle);

/* The operation behind the Task at `index`. */
static inline neap__op *neapL__op_at(lua_State *L, int index) {
  return (neap__op *)((neapL__handle *)lua_touserdata(L, index))->task;
}

/* "read_file" of "fs.read_file", "read" of "Conn:read". */
const char *neapL__last_part(const char *name);

/* Adds each row, under the last part of its name, to the table on top; ends at a row without a name.
 * [-0, +0, m] */
void neapL__register_rows(lua_State *L, const neapL__row *rows);

/* A finite duration >= 0 in seconds; raises an argument error. math.huge is allowed. */
double neapL__check_seconds(lua_State *L, int index);
double neapL__check_duration_value(lua_State *L, int index, double seconds);

/* Copies memory for an operation, with a NUL behind it; raises when there is none. */
char *neapL__copy(lua_State *L, neap_loop *loop, const char *data, size_t size);

/* The strings, numbers and Buffers at `first` to `last`, copied one after the other; raises argument
 * errors. */
char *neapL__copy_strings(lua_State *L, neap_loop *loop, int first, int last, size_t *size);

/* A string argument without NUL bytes, copied. */
char *neapL__copy_path(lua_State *L, neap_loop *loop, int index);

/* Adds the operations on time to the table on top. [-0, +0, m] */
void neapL__register_operations(lua_State *L);

#endif
