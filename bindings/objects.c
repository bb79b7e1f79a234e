#include "objects.h"

#include "../core/ops/fs.h"
#include "../core/ops/stream.h"
#include "await.h"
#include "error.h"
#include "operations.h"

#include <fcntl.h>
#include <string.h>

enum { DEFAULT_READ = 64 * 1024, DEFAULT_BACKLOG = 511, MAX_READ = 1 << 30 };

/* A userdata of one pointer, NULL once its finalizer has run. */
typedef struct object {
  void *core;
} object;

static const char file_class[] = "neap.File";
static const char server_class[] = "neap.Server";
static const char conn_class[] = "neap.Conn";

static object *push_object(lua_State *L, const char *class_name) {
  object *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->core = NULL;
  luaL_setmetatable(L, class_name);
  return self;
}

static void *check_object(lua_State *L, int index, const char *class_name) {
  object *self = luaL_checkudata(L, index, class_name);
  if (!self->core) neapL__misuse(L, "the %s was finalized", class_name);
  return self->core;
}

static size_t check_size(lua_State *L, int index) {
  lua_Integer size = luaL_optinteger(L, index, DEFAULT_READ);
  luaL_argcheck(L, size >= 0 && size <= MAX_READ, index, "a number of bytes expected, 0 or more");
  return (size_t)size;
}

/* Joins the strings from `first` to `last`, as an operation's own memory. */
static char *copy_strings(lua_State *L, neap_loop *loop, int first, int last, size_t *size) {
  luaL_Buffer buffer;
  for (int i = first; i <= last; i++) luaL_checkstring(L, i);
  if (first == last) {
    const char *data = lua_tolstring(L, first, size);
    return neapL__copy(L, loop, data, *size);
  }
  luaL_buffinit(L, &buffer);
  for (int i = first; i <= last; i++) {
    lua_pushvalue(L, i);
    luaL_addvalue(&buffer);
  }
  luaL_pushresult(&buffer);
  const char *data = lua_tolstring(L, -1, size);
  return neapL__copy(L, loop, data, *size);
}

/* ---- neap.fs: paths ------------------------------------------------------------------------- */

static neap__fs *fs_at(lua_State *L, int index) {
  return (neap__fs *)neapL__op_at(L, index);
}

static void read_path(lua_State *L, neap__op *op) {
  ((neap__fs *)op)->path = neapL__copy_path(L, op->task.loop, 1);
}

/* neap.fs.read_file(path) -> Task<string> */
static int push_data(lua_State *L, neapL__state *state, int index) {
  neap__fs *fs = fs_at(L, index);
  (void)state;
  lua_pushlstring(L, fs->data ? fs->data : "", fs->size);
  neap__job_free(&fs->job, fs->data);
  fs->data = NULL;
  return 1;
}

/* neap.fs.write_file(path, data) -> Task */
static void read_write_file(lua_State *L, neap__op *op) {
  neap__fs *fs = (neap__fs *)op;
  read_path(L, op);
  luaL_checkstring(L, 2);
  fs->data = neapL__copy(L, op->task.loop, lua_tolstring(L, 2, &fs->size), lua_rawlen(L, 2));
  fs->flags = O_WRONLY | O_CREAT | O_TRUNC;
}

/* neap.fs.list(path) -> Task<{ {name =, type =}, ... }>, sorted by name */
static const char *entry_type(uv_dirent_type_t type) {
  switch (type) {
  case UV_DIRENT_FILE: return "file";
  case UV_DIRENT_DIR: return "directory";
  case UV_DIRENT_LINK: return "link";
  case UV_DIRENT_FIFO: return "fifo";
  case UV_DIRENT_SOCKET: return "socket";
  case UV_DIRENT_CHAR: return "char";
  case UV_DIRENT_BLOCK: return "block";
  default: return "unknown";
  }
}

static int push_entries(lua_State *L, neapL__state *state, int index) {
  const neap__fs *fs = fs_at(L, index);
  (void)state;
  lua_createtable(L, (int)fs->size, 0);
  for (size_t i = 0; i < fs->size; i++) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, fs->entries[i].name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, entry_type(fs->entries[i].type));
    lua_setfield(L, -2, "type");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* neap.fs.open(path, mode?) -> Task<File> */
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

static void read_open(lua_State *L, neap__op *op) {
  read_path(L, op);
  ((neap__fs *)op)->flags = open_flags(L, 2);
}

static int push_file(lua_State *L, neapL__state *state, int index) {
  object *self = push_object(L, file_class);
  (void)state;
  self->core = neap__fs_take_file(fs_at(L, index));
  return self->core ? 1 : neapL__raise_memory(L);
}

static const neapL__row fs_rows[] = {
    {"fs.read_file", &neap__fs_read_file_kind, read_path, push_data, NULL},
    {"fs.write_file", &neap__fs_write_file_kind, read_write_file, NULL, NULL},
    {"fs.list", &neap__fs_list_kind, read_path, push_entries, NULL},
    {"fs.open", &neap__fs_open_kind, read_open, push_file, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- File ---------------------------------------------------------------------------------- */

static neap__file *check_file(lua_State *L) {
  return check_object(L, 1, file_class);
}

static void use_file(lua_State *L, neap__op *op) {
  neap__file *file = check_file(L);
  file->refs++;
  ((neap__fs *)op)->file = file;
}

static void check_turn(lua_State *L, const neap__op *turn, const char *what) {
  if (turn && !neap__op_is_orphan(turn))
    neapL__misuse(L, "two %ss at once on one object: await the first one before the next", what);
}

/* file:read(n?) -> Task<string | nil>: nil at the end */
static void read_file_read(lua_State *L, neap__op *op) {
  neap__file *file = check_file(L);
  ((neap__fs *)op)->size = check_size(L, 2);
  ((neap__fs *)op)->flags = ((neap__fs *)op)->size == 0;
  check_turn(L, file->reader, "read");
  use_file(L, op);
}

static int push_read(lua_State *L, neapL__state *state, int index) {
  const neap__fs *fs = fs_at(L, index);
  bool is_empty_wanted = fs->flags;
  if (fs->size > 0 || is_empty_wanted) return push_data(L, state, index);
  lua_pushnil(L);
  return 1;
}

/* file:write(...) -> Task<bytes> */
static void read_file_write(lua_State *L, neap__op *op) {
  neap__file *file = check_file(L);
  neap__fs *fs = (neap__fs *)op;
  check_turn(L, file->writer, "write");
  fs->data = copy_strings(L, op->task.loop, 2, neapL__state_here(L)->arguments, &fs->size);
  use_file(L, op);
}

static int push_fs_size(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)fs_at(L, index)->size);
  return 1;
}

static const neapL__row file_rows[] = {
    {"file:read", &neap__fs_read_kind, read_file_read, push_read, NULL},
    {"file:write", &neap__fs_write_kind, read_file_write, push_fs_size, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row file_close_row = {"file:close", &neap__fs_close_kind, use_file, NULL, NULL};

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

/* ---- neap.net ------------------------------------------------------------------------------- */

static neap__stream_op *stream_op_at(lua_State *L, int index) {
  return (neap__stream_op *)neapL__op_at(L, index);
}

static void read_address(lua_State *L, neap__op *op) {
  neap__stream_op *self = (neap__stream_op *)op;
  self->host = neapL__copy_path(L, op->task.loop, 1);
  lua_Integer port = luaL_checkinteger(L, 2);
  luaL_argcheck(L, port >= 0 && port <= 65535, 2, "a port from 0 to 65535 expected");
  self->port = (int)port;
}

static int push_stream(lua_State *L, int index, const char *class_name) {
  object *self = push_object(L, class_name);
  self->core = neap__stream_op_take(stream_op_at(L, index));
  return 1;
}

static int push_conn(lua_State *L, neapL__state *state, int index) {
  (void)state;
  return push_stream(L, index, conn_class);
}

static int push_server(lua_State *L, neapL__state *state, int index) {
  (void)state;
  return push_stream(L, index, server_class);
}

/* neap.net.connect(host, port) -> Task<Conn> */
/* neap.net.listen(host, port, {backlog =}?) -> Task<Server> */
static void read_listen(lua_State *L, neap__op *op) {
  neap__stream_op *self = (neap__stream_op *)op;
  read_address(L, op);
  self->backlog = DEFAULT_BACKLOG;
  if (lua_isnoneornil(L, 3)) return;
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_getfield(L, 3, "backlog");
  lua_Integer backlog = luaL_optinteger(L, -1, DEFAULT_BACKLOG);
  luaL_argcheck(L, backlog > 0 && backlog <= 65535, 3, "option 'backlog' out of range");
  self->backlog = (int)backlog;
  lua_pop(L, 1);
}

static const neapL__row net_rows[] = {
    {"net.connect", &neap__connect_kind, read_address, push_conn, NULL},
    {"net.listen", &neap__listen_kind, read_listen, push_server, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Server and Conn ------------------------------------------------------------------------ */

static neap__stream *check_stream(lua_State *L) {
  const object *self = luaL_testudata(L, 1, server_class);
  if (!self) self = luaL_checkudata(L, 1, conn_class);
  if (!self->core) neapL__misuse(L, "the socket was finalized");
  return self->core;
}

static void use_stream(lua_State *L, neap__op *op) {
  neap__stream *stream = check_stream(L);
  stream->refs++;
  ((neap__stream_op *)op)->stream = stream;
}

/* server:accept() -> Task<Conn> */
static void read_accept(lua_State *L, neap__op *op) {
  neap__stream *server = check_object(L, 1, server_class);
  server->refs++;
  ((neap__stream_op *)op)->server = server;
}

static const neapL__row server_rows[] = {
    {"server:accept", &neap__accept_kind, read_accept, push_conn, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* conn:read(n?) -> Task<string | nil>: what there is, n bytes at most; nil at the end */
static void read_conn_read(lua_State *L, neap__op *op) {
  neap__stream *stream = check_object(L, 1, conn_class);
  lua_Integer size = luaL_optinteger(L, 2, DEFAULT_READ);
  luaL_argcheck(L, size > 0 && size <= MAX_READ, 2, "a number of bytes expected, 1 or more");
  ((neap__stream_op *)op)->size = (size_t)size;
  check_turn(L, stream->reader, "read");
  use_stream(L, op);
}

static int push_conn_data(lua_State *L, neapL__state *state, int index) {
  neap__stream_op *self = stream_op_at(L, index);
  (void)state;
  if (self->size == 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushlstring(L, self->data, self->size);
  neap__memory_free(&self->op.task.loop->memory, self->data);
  self->data = NULL;
  return 1;
}

/* conn:write(...) -> Task<bytes>: all of it */
static void read_conn_write(lua_State *L, neap__op *op) {
  neap__stream_op *self = (neap__stream_op *)op;
  check_object(L, 1, conn_class);
  self->data = copy_strings(L, op->task.loop, 2, neapL__state_here(L)->arguments, &self->size);
  use_stream(L, op);
}

static int push_written(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)stream_op_at(L, index)->size);
  return 1;
}

static size_t written(const neap__op *op) {
  return ((const neap__stream_op *)op)->sent;
}

static const neapL__row conn_rows[] = {
    {"conn:read", &neap__read_kind, read_conn_read, push_conn_data, NULL},
    {"conn:write", &neap__write_kind, read_conn_write, push_written, written},
    {"conn:shutdown", &neap__shutdown_kind, use_stream, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const neapL__row stream_close_row = {"close", &neap__close_kind, use_stream, NULL, NULL};

static int stream_close(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap__stream_close(check_stream(L));
  lua_settop(L, 4);
  neapL__start_operation(L, state, &stream_close_row);
  return 1;
}

static int push_address(lua_State *L, bool peer) {
  char host[NEAP__ADDRESS_SIZE];
  int port = 0;
  int code = neap__stream_address(check_stream(L), peer, host, sizeof host, &port);
  if (code) {
    neap_error error = {.code = code, .syscall = peer ? "getpeername" : "getsockname"};
    neapL__push_core_error(L, neapL__state_here(L), &error);
    return lua_error(L);
  }
  lua_pushstring(L, host);
  lua_pushinteger(L, port);
  return 2;
}

/* :address() -> host, port of this end */
static int stream_address(lua_State *L) {
  return push_address(L, false);
}

/* conn:peer() -> host, port of the other end */
static int stream_peer(lua_State *L) {
  return push_address(L, true);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static int file_gc(lua_State *L) {
  object *self = lua_touserdata(L, 1);
  neap__file *file = self->core;
  self->core = NULL;
  if (file) neap__file_unref(file);
  return 0;
}

static int stream_gc(lua_State *L) {
  object *self = lua_touserdata(L, 1);
  neap__stream *stream = self->core;
  self->core = NULL;
  if (!stream) return 0;
  neap__stream_close(stream);
  neap__stream_unref(stream);
  return 0;
}

/* __close: closes, and waits for it where it can: not while the Lua state ends. */
static int wait_for_close(lua_State *L, lua_CFunction close) {
  neapL__state *state = neapL__state_here(L);
  lua_settop(L, 1);
  if (state->is_closing) return 0; /* the loop closes what is open */
  close(L);
  if (!neapL__current(state) || !lua_isyieldable(L)) return 0;
  lua_replace(L, 1);
  lua_settop(L, 1);
  return neapL__await(L, state, 1);
}

static int file_close_and_wait(lua_State *L) {
  return wait_for_close(L, file_close);
}

static int stream_close_and_wait(lua_State *L) {
  return wait_for_close(L, stream_close);
}

static int file_tostring(lua_State *L) {
  const neap__file *file = check_file(L);
  lua_pushfstring(L, "neap.File '%s'%s", file->path, file->is_closing ? ": closed" : "");
  return 1;
}

static int stream_tostring(lua_State *L) {
  const neap__stream *stream = check_stream(L);
  const char *name = luaL_testudata(L, 1, server_class) ? server_class : conn_class;
  char host[NEAP__ADDRESS_SIZE];
  int port = 0;
  if (neap__stream_address(stream, name == conn_class, host, sizeof host, &port))
    lua_pushfstring(L, "%s: closed", name);
  else
    lua_pushfstring(L, "%s %s:%d", name, host, port);
  return 1;
}

static void new_class(lua_State *L, const char *name, const luaL_Reg *metamethods,
                      const luaL_Reg *methods, const neapL__row *rows) {
  luaL_newmetatable(L, name);
  neapL__register(L, metamethods);
  lua_newtable(L);
  neapL__register(L, methods);
  neapL__register_rows(L, rows);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

static const luaL_Reg file_metamethods[] = {{"__gc", file_gc},
                                            {"__close", file_close_and_wait},
                                            {"__tostring", file_tostring},
                                            {NULL, NULL}};
static const luaL_Reg stream_metamethods[] = {{"__gc", stream_gc},
                                              {"__close", stream_close_and_wait},
                                              {"__tostring", stream_tostring},
                                              {NULL, NULL}};
static const luaL_Reg file_methods[] = {{"close", file_close}, {NULL, NULL}};
static const luaL_Reg server_methods[] = {
    {"close", stream_close}, {"address", stream_address}, {NULL, NULL}};
static const luaL_Reg conn_methods[] = {
    {"close", stream_close}, {"address", stream_address}, {"peer", stream_peer}, {NULL, NULL}};

void neapL__register_objects(lua_State *L) {
  new_class(L, file_class, file_metamethods, file_methods, file_rows);
  new_class(L, server_class, stream_metamethods, server_methods, server_rows);
  new_class(L, conn_class, stream_metamethods, conn_methods, conn_rows);
  lua_newtable(L);
  neapL__register_rows(L, fs_rows);
  lua_setfield(L, -2, "fs");
  lua_newtable(L);
  neapL__register_rows(L, net_rows);
  lua_setfield(L, -2, "net");
}
