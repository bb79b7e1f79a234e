/* Open files. */
#ifndef NEAPLUA_FILE_H
#define NEAPLUA_FILE_H

#include "../core/ops/file.h"
#include "object.h"

/* Makes the class. [-0, +0, m] */
void neapL__open_files(lua_State *L, neapL__state *state);

/* The file behind argument 1; raises. */
neap__file *neapL__check_file(lua_State *L);

/* The row of fs.open: its arguments and its result. */
void neapL__read_open(lua_State *L, neap__op *op);
int neapL__push_file(lua_State *L, neapL__state *state, int index);

#endif
