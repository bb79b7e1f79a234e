#include "file.h"

#include "buffer.h"
#include "error.h"
#include "fs.h"
#include "options.h"
#include "reading.h"

#include <fcntl.h>
#include <string.h>

enum { MAX_READ = 1 << 30, FILE_MODE = 0666 };

static const char class_name[] = "neap.File";

neap__file *neapL__check_file(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__state_here(L)->file_meta, class_name);
}

static neap__file_op *op_at(lua_State *L, int index) {
  return (neap__file_op *)neapL__op_at(L, index);
}

/* ---- fs.open ------------------------------------------------------------------------------- */

/* "r", "w", "a", with "+" and, to create it only, "x"; "b" says nothing here. -1: none of these. */
static int parse_flags(const char *mode) {
  char kind = *mode;
  int flags = 0, access = 0;
  for (const char *c = mode; *c && *++c;) {
    if (*c == '+' && access != O_RDWR)
      access = O_RDWR;
    else if (*c == 'x' && kind != 'r' && !(flags & O_EXCL))
      flags |= O_EXCL;
    else if (*c != 'b')
      return -1;
  }
  if (kind == 'r') return flags | (access ? O_RDWR : O_RDONLY);
  flags |= O_CREAT | (access ? O_RDWR : O_WRONLY);
  if (kind == 'w') return flags | O_TRUNC;
  return kind == 'a' ? flags | O_APPEND : -1;
}

/* neap.fs.open(path, mode?, opts?) -> Task<File> */
void neapL__read_open(lua_State *L, neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  const char *mode = luaL_optstring(L, 2, "r");
  self->path = neapL__copy_path(L, op->task.loop, 1);
  self->flags = parse_flags(mode);
  if (self->flags < 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L,
                                  "invalid mode '%s': 'r', 'w', 'a', 'r+', 'w+', 'a+', "
                                  "and 'x' to create only",
                                  mode));
  neapL__has_options(L, 3);
  self->mode = neapL__option_file_mode(L, 3, "mode", FILE_MODE);
  self->unlinks_at_close = neapL__option_boolean(L, 3, "unlink_at_close", false);
}

int neapL__push_file(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &state->file_meta);
  self->core = neap__file_take(op_at(L, index));
  return self->core ? 1 : neapL__raise_memory(L);
}

/* ---- Reading and writing -------------------------------------------------------------------- */

static neap__file_op *use_file(lua_State *L, neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  self->file = neapL__check_file(L);
  self->file->refs++;
  return self;
}

static int push_size(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)op_at(L, index)->size);
  return 1;
}

/* err.written: how much was written before it failed. */
static bool add_written(lua_State *L, neap__op *op) {
  if (!op->error.code) return false; /* cancelled: nobody knows yet */
  lua_pushinteger(L, (lua_Integer)((neap__file_op *)op)->size);
  lua_setfield(L, -2, "written");
  return true;
}

static void check_position_free(lua_State *L, const neap__file *file) {
  neapL__check_turn(L, file->writer, "write");
  neapL__check_turn(L, file->next, "write");
  if (file->position >= 0 && file->reader.waiting)
    neapL__misuse(L, "a read is under way, which moves the file's position: await it first, or use "
                     "write_at and read_at");
}

static void take_bytes(lua_State *L, neap__file_op *self, int first, int last) {
  self->bytes = neapL__share_bytes(L, first, last, &self->data, &self->size);
  if (self->bytes) return;
  self->data = neapL__copy_strings(L, self->job.op.task.loop, first, last, &self->size);
}

/* file:write(...) -> Task<bytes> */
static void read_write(lua_State *L, neap__op *op) {
  neap__file_op *self = (neap__file_op *)op;
  int last = neapL__state_here(L)->arguments;
  check_position_free(L, neapL__check_file(L));
  take_bytes(L, self, 2, last);
  use_file(L, op);
}

static int64_t check_position(lua_State *L, int index) {
  lua_Integer position = luaL_checkinteger(L, index);
  luaL_argcheck(L, position >= 0, index, "a position in bytes expected, 0 or more");
  return position;
}

/* file:write_at(position, ...) -> Task<bytes> */
static void read_write_at(lua_State *L, neap__op *op) {
  neap__file_op *self = use_file(L, op);
  int last = neapL__state_here(L)->arguments;
  self->position = check_position(L, 2);
  take_bytes(L, self, 3, last);
}

/* file:read_at(position, n) -> Task<string | nil>: n bytes, less at the end; nil there */
static void read_read_at(lua_State *L, neap__op *op) {
  neap__file_op *self = use_file(L, op);
  self->position = check_position(L, 2);
  lua_Integer size = luaL_checkinteger(L, 3);
  luaL_argcheck(L, size >= 0 && size <= MAX_READ, 3, "a number of bytes up to 2^30 expected");
  self->size = (size_t)size;
  self->flags = size == 0;
}

/* file:read_at_into(position, buffer, pos?, n?) -> Task<bytes | nil> */
static void read_read_at_into(lua_State *L, neap__op *op) {
  neap__file_op *self = use_file(L, op);
  self->position = check_position(L, 2);
  neapL__check_target(L, 3, &self->target, &self->size);
  luaL_argcheck(L, self->size <= MAX_READ, 5, "at most 1073741824 bytes at a time");
  self->flags = self->size == 0;
}

/* At the end there is nothing: nil. */
static int push_size_or_nil(lua_State *L, neapL__state *state, int index) {
  const neap__file_op *self = op_at(L, index);
  if (self->size > 0 || self->flags) return push_size(L, state, index);
  lua_pushnil(L);
  return 1;
}

static int push_read_at(lua_State *L, neapL__state *state, int index) {
  neap__file_op *self = op_at(L, index);
  (void)state;
  if (self->size == 0 && !self->flags)
    lua_pushnil(L);
  else
    lua_pushlstring(L, self->data, self->size);
  return 1;
}

/* ---- The position and the size --------------------------------------------------------------- */

static void read_seek_end(lua_State *L, neap__op *op) {
  neap__file_op *self = use_file(L, op);
  self->position = luaL_checkinteger(L, 2);
}

static int push_position(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)op_at(L, index)->position);
  return 1;
}

static const neapL__row seek_end_row = {"seek", &neap__file_seek_end_kind, read_seek_end,
                                        push_position, NULL};

static int fail_seek(lua_State *L, const neap__file *file, int code) {
  neapL__state *state = neapL__state_here(L);
  neap_error error = {.code = code, .syscall = "lseek", .path = file->path};
  neapL__push_core_error(L, state, &error);
  neapL__push_failed_operation(L, state);
  return 1;
}

/* file:seek(whence?, offset?) -> Task<position>: as io's; without arguments the position */
static int seek(lua_State *L) {
  static const char *const whences[] = {"set", "cur", "end", NULL};
  neapL__state *state = neapL__state_here(L);
  neap__file *file = neapL__check_file(L);
  int whence = luaL_checkoption(L, 2, "cur", whences);
  lua_Integer offset = luaL_optinteger(L, 3, 0);
  neapL__check_open(L, state);
  check_position_free(L, file);
  lua_settop(L, 1);
  lua_pushinteger(L, offset);
  if (whence == 2 || file->is_closing) {
    neapL__start_operation(L, state, &seek_end_row);
    return 1;
  }
  if (neapL__is_cancelled_here(state)) {
    neapL__push_cancelled_here(L, state);
    return 1;
  }
  int64_t base = whence == 0 ? 0 : neap__file_position(file);
  if (file->position < 0) return fail_seek(L, file, UV_ESPIPE);
  if (offset > 0 ? base > INT64_MAX - offset : base + offset < 0)
    return fail_seek(L, file, UV_EINVAL);
  if (whence == 0 || offset != 0) neap__file_move(file, base + offset);
  lua_pushinteger(L, base + offset);
  neapL__push_completed(L, state, 1);
  return 1;
}

/* file:truncate(size?) -> Task: at the position if no size is given */
static void read_truncate(lua_State *L, neap__op *op) {
  neap__file_op *self = use_file(L, op);
  self->position = lua_isnoneornil(L, 2) ? -1 : check_position(L, 2);
}

/* file:sync(opts?) -> Task */
static void read_sync(lua_State *L, neap__op *op) {
  neapL__has_options(L, 2);
  use_file(L, op)->is_data_only = neapL__option_boolean(L, 2, "data", false);
}

/* file:stat() -> Task<table> */
static void read_stat(lua_State *L, neap__op *op) {
  use_file(L, op);
}

static int push_stat(lua_State *L, neapL__state *state, int index) {
  (void)state;
  neapL__push_stat(L, &((const neap__file_stat *)neapL__op_at(L, index))->stat);
  return 1;
}

/* file:chmod(mode) -> Task */
static void read_chmod(lua_State *L, neap__op *op) {
  use_file(L, op)->mode = neapL__check_file_mode(L, 2);
}

/* file:utime(atime?, mtime?) -> Task */
static void read_utime(lua_State *L, neap__op *op) {
  neap__file_op *self = use_file(L, op);
  self->times[0] = neapL__check_time(L, 2);
  self->times[1] = neapL__check_time(L, 3);
}

static const neapL__row rows[] = {
    {"write", &neap__file_write_kind, read_write, push_size, add_written},
    {"write_at", &neap__file_write_at_kind, read_write_at, push_size, add_written},
    {"read_at", &neap__file_read_at_kind, read_read_at, push_read_at, NULL},
    {"read_at_into", &neap__file_read_at_into_kind, read_read_at_into, push_size_or_nil, NULL},
    {"truncate", &neap__file_truncate_kind, read_truncate, NULL, NULL},
    {"sync", &neap__file_sync_kind, read_sync, NULL, NULL},
    {"stat", &neap__file_stat_kind, read_stat, push_stat, NULL},
    {"chmod", &neap__file_chmod_kind, read_chmod, NULL, NULL},
    {"utime", &neap__file_utime_kind, read_utime, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Closing ------------------------------------------------------------------------------- */

static void read_close(lua_State *L, neap__op *op) {
  use_file(L, op);
}

static const neapL__row close_row = {"close", &neap__file_close_kind, read_close, NULL, NULL};

/* The descriptor is released also where the wait is refused: in a cancelled scope the operation has
 * no effect, so it is closed here first. */
static int close_file(lua_State *L) {
  neap__file *file = neapL__check_file(L);
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 1);
  neapL__start_operation(L, state, &close_row);
  neap__file_close_soon(file);
  return 1;
}

static int close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, close_file);
}

static int collect(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__file *file = self->core;
  self->core = NULL;
  if (file) neap__file_unref(file);
  return 0;
}

/* file:path() -> as it was opened */
static int get_path(lua_State *L) {
  lua_pushstring(L, neapL__check_file(L)->path);
  return 1;
}

static int to_string(lua_State *L) {
  const neap__file *file = neapL__check_file(L);
  lua_pushfstring(L, "neap.File '%s'%s", file->path, file->is_closing ? ": closed" : "");
  return 1;
}

static const luaL_Reg metamethods[] = {
    {"__gc", collect}, {"__close", close_and_wait}, {"__tostring", to_string}, {NULL, NULL}};
static const luaL_Reg methods[] = {
    {"close", close_file}, {"seek", seek}, {"path", get_path}, {NULL, NULL}};

void neapL__open_files(lua_State *L, neapL__state *state) {
  neapL__reading_class(L, &state->file_meta, class_name, metamethods, methods, rows);
}
