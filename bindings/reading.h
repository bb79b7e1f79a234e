/* The methods of all that is read in order: files, connections, pipes, terminals. */
#ifndef NEAPLUA_READING_H
#define NEAPLUA_READING_H

#include "../core/ops/reader.h"
#include "object.h"

/* How the objects of a driver's class are read. In the metatable under neapL__readable_key. */
typedef struct neapL__readable {
  /* The reader of the object at `index`, with a reference to its owner; raises argument errors. */
  neap__reader *(*use)(lua_State *L, int index);
} neapL__readable;

extern const char neapL__readable_key; /* its address is the key, a light userdata */

/* Makes the class of an object that is read: read, read_exactly, read_until, read_line, read_all, read_into, lines,
 * and `for chunk in object do`; with its own methods and rows. [-0, +0, m] */
void neapL__reading_class(lua_State *L, neapL__meta *meta, const char *name,
                          const luaL_Reg *metamethods, const luaL_Reg *methods,
                          const neapL__row *rows);

#endif
