/* Lua values <-> what SQLite is given and gives. */
#ifndef NEAPLUA_DRIVERS_SQLITE_VALUES_H
#define NEAPLUA_DRIVERS_SQLITE_VALUES_H

#include "../../core/drivers/sqlite_values.h"
#include "../state.h"

/* A string that is stored as a BLOB: its user value. */
extern const char neapL__sqlite_blob_name[];

/* The arguments from `first` to `last` as parameters: values in their order or, where the only one is a
 * table, by names and numbers. Raises argument errors. [-0, +0, m] */
void neapL__sqlite_read_params(lua_State *L, const neapL__meta *blob, neap__sqlite_buffer *params,
                               int first, int last);
/* The list at `index` as sets of parameters; an element that is no table is a set of one. */
void neapL__sqlite_read_sets(lua_State *L, const neapL__meta *blob, neap__sqlite_buffer *params,
                             int index);

/* Pushes the strings of `count` names at `at`; *at: behind them. [-0, +count, m] */
void neapL__sqlite_push_names(lua_State *L, const char **at, int count);
/* Pushes the row at `at`, whose columns have the names from index `names` on; *at: behind it. NULL is
 * absent. `is_array`: by number, with `n`. [-0, +1, m] */
void neapL__sqlite_push_row(lua_State *L, const char **at, int names, int count, bool is_array);
/* Pushes one value. [-0, +1, m] */
void neapL__sqlite_push_value(lua_State *L, const char **at);

#endif
