/* The methods of all that is read in order: files, connections, pipes, terminals. */
#ifndef NEAPLUA_READING_H
#define NEAPLUA_READING_H

#include "object.h"

/* Makes the class of an object that is read: read, read_exactly, read_until, read_line, read_all, read_into, lines,
 * and `for chunk in object do`; with its own methods and rows. [-0, +0, m] */
void neapL__reading_class(lua_State *L, neapL__meta *meta, const char *name,
                          const luaL_Reg *metamethods, const luaL_Reg *methods,
                          const neapL__row *rows);

#endif
