/* Buffer: bytes outside of Lua's memory, which cross to other threads without being copied. */
#ifndef NEAPLUA_BUFFER_H
#define NEAPLUA_BUFFER_H

#include "../core/bytes.h"
#include "state.h"

/* A view of a block. What is behind it can go whenever Lua allocates, for that may run a finalizer which
 * closes or sends the Buffer: check it again after that. */
typedef struct neapL__buffer {
  neap__hold *hold; /* referenced; NULL: closed */
  char *data;       /* in its block */
  size_t size;
} neapL__buffer;

void neapL__open_buffers(lua_State *L, neapL__state *state);

/* The Buffer at `index`, NULL if it is none. */
neapL__buffer *neapL__to_buffer(lua_State *L, int index);

/* The same; raises an argument error, or EMISUSE when it is closed or has moved. */
neapL__buffer *neapL__check_buffer(lua_State *L, int index);
/* The same; raises EMISUSE when it is immutable, too. */
neapL__buffer *neapL__check_writable(lua_State *L, int index);

/* The same; raises EMISUSE when it is about to move to another thread, too. */
neapL__buffer *neapL__check_staying(lua_State *L, int index);

/* Pushes a Buffer of all of the block and takes over the reference to that; raises, when out of memory,
 * with the reference dropped. [-0, +1, m] */
void neapL__push_buffer(lua_State *L, neapL__state *state, neap_bytes *bytes, bool is_writable);

/* Pushes a Buffer that has nothing yet: it is as if it were closed. [-0, +1, m] */
neapL__buffer *neapL__new_buffer(lua_State *L, const neapL__state *state);

/* Gives the block, with its reference, to such a Buffer; raises with the reference dropped. [-0, +0, m] */
void neapL__fill_buffer(lua_State *L, neapL__state *state, neapL__buffer *self, neap_bytes *bytes,
                        bool is_writable);

/* A place in the Buffer of `size` bytes: an integer from 1 to size + 1, or from -size on, counted from the
 * end; absent: 1. As a number from 0 on; raises an argument error. */
size_t neapL__check_place(lua_State *L, int index, size_t size);

/* What string.sub(s, i, j) gives of a string of `size` bytes, `i` being at `index`; both may be absent.
 * [-0, +0, v] */
typedef struct neapL__range {
  size_t start, size;
} neapL__range;
neapL__range neapL__check_range(lua_State *L, int index, size_t size);

/* ---- Where bytes are taken or put ------------------------------------------------------------ */

/* The bytes of the string, number or Buffer at `index`; raises an argument error for anything else. A
 * number becomes a string there. Borrowed until Lua allocates. [-0, +0, m] */
const char *neapL__check_bytes(lua_State *L, int index, size_t *size);

/* If the only value from `first` to `last` is an immutable Buffer: a reference to its block, for an
 * operation that keeps the bytes. NULL: they have to be copied. */
neap_bytes *neapL__share_bytes(lua_State *L, int first, int last, char **data, size_t *size);

/* The arguments (buffer, pos?, n?) from `index` on of an operation that reads into a Buffer. Raises. */
void neapL__check_target(lua_State *L, int index, neap__target *target, size_t *size);

/* ---- The methods ---------------------------------------------------------------------------- */

extern const luaL_Reg neapL__buffer_operators[], neapL__buffer_access[];
extern const luaL_Reg neapL__buffer_functions[]; /* buffer */

/* Adds unpack and pack, which need the string library, to the table on top. [-0, +0, m] */
void neapL__register_packing(lua_State *L, neapL__state *state);

/* What carries a Buffer to another state, for transfer.h. */
void neapL__set_buffer_crossing(lua_State *L);

#endif
