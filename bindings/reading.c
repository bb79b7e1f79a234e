#include "reading.h"

#include "../core/ops/file.h"
#include "../core/ops/stream.h"
#include "buffer.h"
#include "conn.h"
#include "file.h"

#include <string.h>

enum { MAX_READ = 1 << 30, MAX_DELIMITED = 1 << 20, MAX_ALL = 64 << 20 };

static neap__read *read_at(lua_State *L, int index) {
  return (neap__read *)neapL__op_at(L, index);
}

const char neapL__readable_key = 'r';

/* What a driver says of the object; NULL: it is none of a driver's. */
static const neapL__readable *readable_at(lua_State *L, int index) {
  if (!lua_isuserdata(L, index) || !lua_getmetatable(L, index)) return NULL;
  lua_rawgetp(L, -1, &neapL__readable_key);
  const neapL__readable *readable = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return readable;
}

static neap__read *use_driver(lua_State *L, neap__read *self, const neapL__readable *readable) {
  neap__reader *reader = readable->use(L, 1);
  bool is_busy = reader->waiting && !neap__op_is_orphan(&reader->waiting->op);
  if (is_busy) reader->source->unref(reader); /* it is misuse, which raises */
  neapL__check_turn(L, is_busy ? &reader->waiting->op : NULL, "read");
  self->reader = reader;
  return self;
}

/* Reads the object, and takes a reference to it for the operation. */
static neap__read *use_reader(lua_State *L, neap__op *op, neap__read_mode mode) {
  neap__read *self = (neap__read *)op;
  const neapL__state *state = neapL__state_here(L);
  const neapL__readable *readable = readable_at(L, 1);
  if (readable) {
    self->mode = mode;
    return use_driver(L, self, readable);
  }
  bool is_file = lua_isuserdata(L, 1) && neapL__has_meta(L, 1, &state->file_meta);
  neap__file *file = is_file ? neapL__check_file(L) : NULL;
  neap__stream *stream = is_file ? NULL : neapL__check_conn(L);
  neap__reader *reader = is_file ? &file->reader : &stream->reader;
  neapL__check_turn(L, reader->waiting ? &reader->waiting->op : NULL, "read");
  self->mode = mode;
  self->reader = reader;
  if (is_file)
    file->refs++;
  else
    stream->refs++;
  op->error.path = is_file ? file->path : NULL;
  return self;
}

static size_t check_bytes(lua_State *L, int index, lua_Integer otherwise) {
  lua_Integer size = luaL_optinteger(L, index, otherwise);
  luaL_argcheck(L, size >= 0, index, "a number of bytes expected, 0 or more");
  return (size_t)size;
}

/* :read(n?) -> Task<string | nil>: what there is, n bytes at most; nil at the end */
static void read_some(lua_State *L, neap__op *op) {
  size_t size = check_bytes(L, 2, NEAP__BLOCK_SIZE);
  luaL_argcheck(L, size <= MAX_READ, 2, "at most 1073741824 bytes at a time");
  use_reader(L, op, NEAP__READ_SOME)->size = size;
}

/* :read_exactly(n) -> Task<string> */
static void read_exactly(lua_State *L, neap__op *op) {
  luaL_checkinteger(L, 2);
  size_t size = check_bytes(L, 2, 0);
  luaL_argcheck(L, size <= MAX_READ, 2, "at most 1073741824 bytes at a time");
  use_reader(L, op, NEAP__READ_EXACTLY)->size = size;
}

/* :read_into(buffer, pos?, n?) -> Task<bytes | nil>: what there is; nil at the end */
static void read_into(lua_State *L, neap__op *op) {
  neap__read *self = (neap__read *)op;
  neapL__check_target(L, 2, &self->target, &self->size);
  use_reader(L, op, NEAP__READ_SOME);
}

static void set_delimiter(lua_State *L, neap__read *self, const char *delimiter, size_t size) {
  self->delimiter = neapL__copy(L, self->op.task.loop, delimiter, size);
  self->delimiter_size = size;
}

/* :read_until(delimiter, max?) -> Task<string | nil>: without the delimiter */
static void read_until(lua_State *L, neap__op *op) {
  size_t size;
  const char *delimiter = luaL_checklstring(L, 2, &size);
  luaL_argcheck(L, size > 0, 2, "the delimiter is empty");
  ((neap__read *)op)->size = check_bytes(L, 3, MAX_DELIMITED);
  set_delimiter(L, (neap__read *)op, delimiter, size);
  use_reader(L, op, NEAP__READ_UNTIL);
}

/* :read_line(max?) -> Task<string | nil>: without its end, "\n" or "\r\n" */
static void read_line(lua_State *L, neap__op *op) {
  ((neap__read *)op)->size = check_bytes(L, 2, MAX_DELIMITED);
  set_delimiter(L, (neap__read *)op, "\n", 1);
  use_reader(L, op, NEAP__READ_LINE);
}

/* :read_all(max?) -> Task<string>: what there is up to the end */
static void read_all(lua_State *L, neap__op *op) {
  bool is_file = lua_isuserdata(L, 1) && neapL__has_meta(L, 1, &neapL__state_here(L)->file_meta);
  ((neap__read *)op)->size = check_bytes(L, 2, is_file ? LUA_MAXINTEGER : MAX_ALL);
  use_reader(L, op, NEAP__READ_ALL);
}

static void push_data(lua_State *L, neap__read *self) {
  lua_pushlstring(L, self->data ? self->data + self->start : "", self->length);
  if (self->data) neap__block_give(self->op.task.loop, self->data, self->capacity);
  self->data = NULL;
}

/* At the end there is nothing: nil. */
static int push_or_nil(lua_State *L, neapL__state *state, int index) {
  neap__read *self = read_at(L, index);
  (void)state;
  if (self->is_end)
    lua_pushnil(L);
  else
    push_data(L, self);
  return 1;
}

static int push_string(lua_State *L, neapL__state *state, int index) {
  (void)state;
  push_data(L, read_at(L, index));
  return 1;
}

/* err.partial: what came before the end. */
static bool add_partial(lua_State *L, neap__op *op) {
  neap__read *self = (neap__read *)op;
  if (op->error.code != UV_EOF) return false;
  push_data(L, self);
  lua_setfield(L, -2, "partial");
  return true;
}

static int push_size_or_nil(lua_State *L, neapL__state *state, int index) {
  const neap__read *self = read_at(L, index);
  (void)state;
  if (self->is_end)
    lua_pushnil(L);
  else
    lua_pushinteger(L, (lua_Integer)self->length);
  return 1;
}

enum { READ, READ_EXACTLY, READ_UNTIL, READ_LINE, READ_ALL, READ_INTO };

static const neapL__row reading_rows[] = {
    [READ] = {"read", &neap__read_kind, read_some, push_or_nil, NULL},
    [READ_EXACTLY] = {"read_exactly", &neap__read_exactly_kind, read_exactly, push_string,
                      add_partial},
    [READ_UNTIL] = {"read_until", &neap__read_until_kind, read_until, push_or_nil, add_partial},
    [READ_LINE] = {"read_line", &neap__read_line_kind, read_line, push_or_nil, NULL},
    [READ_ALL] = {"read_all", &neap__read_all_kind, read_all, push_string, NULL},
    [READ_INTO] = {"read_into", &neap__read_into_kind, read_into, push_size_or_nil, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Loops --------------------------------------------------------------------------------- */

/* for chunk in object do: what there is, nil at the end */
static int next_chunk(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 1);
  lua_pushnil(L);
  return neapL__call_and_await(L, state, &reading_rows[READ]);
}

/* Upvalues: the state, the object, the most bytes of a line. */
static int next_line(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, lua_upvalueindex(3));
  return neapL__call_and_await(L, state, &reading_rows[READ_LINE]);
}

/* :lines(max?) -> an iterator over the lines, without their ends */
static int lines(lua_State *L) {
  check_bytes(L, 2, MAX_DELIMITED);
  lua_settop(L, 2);
  bool is_known = neapL__has_meta(L, 1, &neapL__state_here(L)->file_meta) || readable_at(L, 1);
  if (!is_known) neapL__check_conn(L);
  lua_pushlightuserdata(L, neapL__state_here(L));
  lua_insert(L, 1);
  lua_pushcclosure(L, next_line, 3);
  return 1;
}

static const luaL_Reg shared_metamethods[] = {{"__call", next_chunk}, {NULL, NULL}};
static const luaL_Reg shared_methods[] = {{"lines", lines}, {NULL, NULL}};

void neapL__reading_class(lua_State *L, neapL__meta *meta, const char *name,
                          const luaL_Reg *metamethods, const luaL_Reg *methods,
                          const neapL__row *rows) {
  neapL__object_class(L, meta, name, metamethods, methods, rows);
  neapL__push_ref(L, meta->ref);
  neapL__register(L, shared_metamethods);
  lua_getfield(L, -1, "__index");
  neapL__register(L, shared_methods);
  neapL__register_rows(L, reading_rows);
  lua_pop(L, 2);
}
