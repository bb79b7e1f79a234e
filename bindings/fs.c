#include "fs.h"

#include "../core/ops/file.h"
#include "../core/ops/fs.h"
#include "file.h"

#include <fcntl.h>

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

static const neapL__row fs_rows[] = {
    {"fs.read_file", &neap__fs_read_file_kind, read_path, push_data, NULL},
    {"fs.write_file", &neap__fs_write_file_kind, read_write_file, NULL, NULL},
    {"fs.list", &neap__fs_list_kind, read_path, push_entries, NULL},
    {"fs.open", &neap__file_open_kind, neapL__read_open, neapL__push_file, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

void neapL__register_fs(lua_State *L) {
  lua_newtable(L);
  neapL__register_rows(L, fs_rows);
  lua_setfield(L, -2, "fs");
}
