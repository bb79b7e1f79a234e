#include "file.h"

#include "../core/ops/file.h"
#include "error.h"

#include <fcntl.h>
#include <string.h>

enum { DEFAULT_READ = 64 * 1024, MAX_READ = 1 << 30 };

static const char class_name[] = "neap.File";

static neap__file *check_file(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->file_meta, class_name);
}

static neap__file_op *op_at(lua_State *L, int index) {
  return (neap__file_op *)neapL__op_at(L, index);
}

/* ---- fs.open ------------------------------------------------------------------------------- */

static int open_flags(lua_State *L, int index) {
  static const char *const modes[] = {"r", "w", "a", "r+", "w+", "a+", NULL};
  static const int flags[] = {O_RDONLY, O_WRONLY | O_CREAT | O_TRUNC, O_WRONLY | O_CREAT | O_APPEND,
                              O_RDWR,   O_RDWR | O_CREAT | O_TRUNC,   O_RDWR | O_CREAT | O_APPEND};
  char mode[4] = {0};
  size_t n = 0;
  for (const char *c = luaL_optstring(L, index, "r"); *c; c++)
    if (*c != 'b' || c == lua_tostring(L, index)) { /* "rb" is "r": there are no text files here */
      if (n == sizeof mode - 1) break;
      mode[n++] = *c;
    }
  lua_pushstring(L, mode);
  lua_replace(L, index);
  return flags[luaL_checkoption(L, index, NULL, modes)];
}

void neapL__read_open(lua_State *L, neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  self->path = neapL__copy_path(L, op->task.loop, 1);
  self->flags = open_flags(L, 2);
}

int neapL__push_file(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &state->file_meta);
  self->core = neap__file_take(op_at(L, index));
  return self->core ? 1 : neapL__raise_memory(L);
}

/* ---- Reading and writing -------------------------------------------------------------------- */

static size_t check_size(lua_State *L, int index) {
  lua_Integer size = luaL_optinteger(L, index, DEFAULT_READ);
  luaL_argcheck(L, size >= 0 && size <= MAX_READ, index, "a number of bytes expected, 0 or more");
  return (size_t)size;
}

static void use_file(lua_State *L, neap__op *op) {
  neap__file *file = check_file(L);
  file->refs++;
  ((neap__file_op *)op)->file = file;
}

/* file:read(n?) -> Task<string | nil>: nil at the end */
static void read_file_read(lua_State *L, neap__op *op) {
  neap__file *file = check_file(L);
  ((neap__file_op *)op)->size = check_size(L, 2);
  ((neap__file_op *)op)->flags = ((neap__file_op *)op)->size == 0;
  neapL__check_turn(L, file->reader, "read");
  use_file(L, op);
}

static int push_data(lua_State *L, int index) {
  neap__file_op *self = op_at(L, index);
  lua_pushlstring(L, self->data ? self->data : "", self->size);
  neap__job_free(&self->job, self->data);
  self->data = NULL;
  return 1;
}

static int push_read(lua_State *L, neapL__state *state, int index) {
  const neap__file_op *self = op_at(L, index);
  bool is_empty_wanted = self->flags;
  (void)state;
  if (self->size > 0 || is_empty_wanted) return push_data(L, index);
  lua_pushnil(L);
  return 1;
}

/* file:write(...) -> Task<bytes> */
static void read_file_write(lua_State *L, neap__op *op) {
  neap__file *file = check_file(L);
  neap__file_op *self = (neap__file_op *)op;
  neapL__check_turn(L, file->writer, "write");
  self->data =
      neapL__copy_strings(L, op->task.loop, 2, neapL__state_here(L)->arguments, &self->size);
  use_file(L, op);
}

static int push_size(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)op_at(L, index)->size);
  return 1;
}

static const neapL__row file_rows[] = {
    {"file:read", &neap__file_read_kind, read_file_read, push_read, NULL},
    {"file:write", &neap__file_write_kind, read_file_write, push_size, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row file_close_row = {"file:close", &neap__file_close_kind, use_file, NULL,
                                          NULL};

/* The descriptor is released also where the wait is refused: in a cancelled scope the operation has
 * no effect, so it is closed here first. */
static int file_close(lua_State *L) {
  neap__file *file = check_file(L);
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 4);
  neapL__start_operation(L, state, &file_close_row);
  neap__file_close_soon(file);
  return 1;
}

static int file_gc(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__file *file = self->core;
  self->core = NULL;
  if (file) neap__file_unref(file);
  return 0;
}

static int file_close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, file_close);
}

static int file_tostring(lua_State *L) {
  const neap__file *file = check_file(L);
  lua_pushfstring(L, "neap.File '%s'%s", file->path, file->is_closing ? ": closed" : "");
  return 1;
}

static const luaL_Reg file_metamethods[] = {{"__gc", file_gc},
                                            {"__close", file_close_and_wait},
                                            {"__tostring", file_tostring},
                                            {NULL, NULL}};
static const luaL_Reg file_methods[] = {{"close", file_close}, {NULL, NULL}};

void neapL__open_files(lua_State *L, neapL__state *state) {
  neapL__object_class(L, &state->file_meta, class_name, file_metamethods, file_methods, file_rows);
}
