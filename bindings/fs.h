/* neap.fs: operations on paths. */
#ifndef NEAPLUA_FS_H
#define NEAPLUA_FS_H

#include "operations.h"

/* Adds the table `fs` to the table on top. [-0, +0, m] */
void neapL__register_fs(lua_State *L);

#endif
