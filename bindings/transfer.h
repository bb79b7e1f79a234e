/* Values that cross to another Lua state: a structured copy, by way of memory that belongs to neither.
 *
 * A message holds n values. Nil, booleans, integers, floats and strings are copied; tables without their
 * metatables, cycles and shared references kept; functions of Lua with their upvalues (_ENV becomes the
 * globals of the other state); objects of a class that may cross keep what is behind them. Nothing else
 * crosses. */
#ifndef NEAPLUA_TRANSFER_H
#define NEAPLUA_TRANSFER_H

#include "state.h"

/* Zeroed at first. Owner: whoever has it in their memory; ends with neapL__message_deinit. Between write
 * and read any thread may have it, one at a time. */
typedef struct neapL__message {
  char *data;
  size_t size, capacity;
  struct neapL__shared *shared; /* what the data refers to by number: objects and code */
  uint32_t shared_count, shared_capacity;
  uint32_t objects; /* tables, functions, ... : what has a number in the data */
  int count;        /* of values */
  bool is_repeated; /* set before it is written: it will be copied, so no userdata is written */
  bool lends;       /* the first value is a function that the message has no other reference to */
  struct neapL__scratch *scratch; /* only while it is written */
} neapL__message;

/* Writes the values from index `first` to `last`. True: done. False: one cannot cross, and a string that
 * says which and why is pushed: "argument 2.items[3]: a coroutine cannot cross to another thread";
 * `what` is its first word, `number` the number of the first value. Nothing has been moved then. Raises
 * when out of memory; the message accepts deinit in any case. [-0, +(0|1), m] */
bool neapL__message_write(lua_State *L, neapL__state *state, neapL__message *message, int first,
                          int last, const char *what, int number);

/* Pushes the values; returns how many. `environment`: the index of the table that _ENV becomes, 0: the
 * globals. The message is empty then. Raises when out of memory, or when a module that is needed for a
 * value cannot be loaded; the message accepts deinit then. [-0, +n, m] */
int neapL__message_read(lua_State *L, neapL__state *state, neapL__message *message,
                        int environment);

/* Makes the empty message `copy` another one of `message`, which was written with is_repeated; false: not
 * enough memory. Any number of threads may copy a message at once. */
bool neapL__message_copy(neapL__state *state, const neapL__message *message, neapL__message *copy);

/* Frees it, with what nobody has read. Thread: any. */
void neapL__message_deinit(neapL__message *message);

/* The function at `index` was the first value of a message, has returned or failed, and nobody has it any
 * more: it may serve the next message with the same code, with upvalues of its own. Calling this is up to the
 * reader, and spares it loading the code again. [-0, +0, m] */
void neapL__function_return(lua_State *L, neapL__state *state, int index);

/* A class of userdata that may cross: what is behind its objects is shared, not copied. In the metatable
 * under neapL__crossing_key. */
typedef struct neapL__crossing {
  const char *name;
  /* A new reference to what is behind the object at `index`; NULL: it may not cross now, and a string that
   * says why is pushed. Nothing has happened to the object. [-0, +(0|1), -] */
  void *(*take)(lua_State *L, int index);
  /* The message with the reference is complete: the object has left. NULL: it stays. [-0, +0, -] */
  void (*leave)(lua_State *L, int index);
  /* Pushes a userdata of this state and gives it the reference; raises, when out of memory, before it
   * has taken it over. [-0, +1, m] */
  void (*arrive)(lua_State *L, neapL__state *state, void *shared);
  /* Drops a reference that was not given to an object. Thread: any. */
  void (*release)(void *shared);
} neapL__crossing;

extern const char neapL__crossing_key; /* its address is the key, a light userdata */

/* Marks the metatable on top. [-0, +0, m] */
void neapL__set_crossing(lua_State *L, const neapL__crossing *crossing);

/* core.transfer(...) -> copies, by way of a message; core.crossing_class(module, metatable, before):
 * tables with this metatable cross as what before(object) returns, a table, and get the metatable again in
 * the other state, where `module` is required for it. */
extern const luaL_Reg neapL__transfer_functions[];

void neapL__open_transfer(lua_State *L, neapL__state *state);
void neapL__close_transfer(neapL__state *state);

#endif
