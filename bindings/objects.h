/* Files, servers and connections: userdata around the core's files and streams. */
#ifndef NEAPLUA_OBJECTS_H
#define NEAPLUA_OBJECTS_H

#include "state.h"

/* Adds the tables `fs` and `net` to the table on top. [-0, +0, m] */
void neapL__register_objects(lua_State *L);

#endif
