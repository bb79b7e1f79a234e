#include "fs.h"

#include "../core/ops/file.h"
#include "../core/ops/fs.h"
#include "buffer.h"
#include "file.h"
#include "options.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MODE = 0666, DIRECTORY_MODE = 0777 };

static neap__fs *fs_of(neap__op *op) {
  return (neap__fs *)op;
}

static neap__fs *fs_at(lua_State *L, int index) {
  return fs_of(neapL__op_at(L, index));
}

/* ---- Arguments ----------------------------------------------------------------------------- */

static void read_path(lua_State *L, neap__op *op) {
  fs_of(op)->path = neapL__copy_path(L, op->task.loop, 1);
}

static void read_two_paths(lua_State *L, neap__op *op) {
  read_path(L, op);
  fs_of(op)->dest = neapL__copy_path(L, op->task.loop, 2);
}

/* A flag if the field of the options at `index` is there and true, or absent and `otherwise`. */
static int option_flag(lua_State *L, int index, const char *name, bool otherwise, int flag) {
  return neapL__option_boolean(L, index, name, otherwise) ? flag : 0;
}

/* Links are followed unless the options say otherwise. */
static int option_follow(lua_State *L, int index) {
  neapL__has_options(L, index);
  return option_flag(L, index, "follow", true, NEAP__FS_NOFOLLOW) ^ NEAP__FS_NOFOLLOW;
}

/* (path, data, {mode =, sync =}?) */
static void read_data(lua_State *L, neap__op *op) {
  neap__fs *fs = fs_of(op);
  read_path(L, op);
  neapL__check_bytes(L, 2, &fs->size);
  neapL__has_options(L, 3);
  fs->mode = neapL__option_file_mode(L, 3, "mode", FILE_MODE);
  fs->flags |= option_flag(L, 3, "sync", false, NEAP__FS_SYNC);
  fs->bytes = neapL__share_bytes(L, 2, 2, &fs->data, &fs->size);
  if (!fs->bytes) fs->data = neapL__copy_strings(L, op->task.loop, 2, 2, &fs->size);
}

/* neap.fs.write_file(path, data, {mode =, atomic =, sync =}?) -> Task */
static void read_write_file(lua_State *L, neap__op *op) {
  read_data(L, op);
  fs_of(op)->flags |= option_flag(L, 3, "atomic", false, NEAP__FS_ATOMIC);
}

/* neap.fs.append_file(path, data, {mode =, sync =}?) -> Task */
static void read_append_file(lua_State *L, neap__op *op) {
  fs_of(op)->flags = NEAP__FS_APPEND;
  read_data(L, op);
}

/* neap.fs.copy_file(from, to, {overwrite =}?) -> Task */
static void read_copy_file(lua_State *L, neap__op *op) {
  read_two_paths(L, op);
  neapL__has_options(L, 3);
  fs_of(op)->flags = option_flag(L, 3, "overwrite", true, NEAP__FS_OVERWRITE);
}

/* core.fs.list_directory(path): no link */
static void read_list_directory(lua_State *L, neap__op *op) {
  read_path(L, op);
  fs_of(op)->flags = NEAP__FS_NOFOLLOW;
}

/* neap.fs.mkdir(path, {mode =, parents =}?) -> Task */
static void read_mkdir(lua_State *L, neap__op *op) {
  read_path(L, op);
  neapL__has_options(L, 2);
  fs_of(op)->mode = neapL__option_file_mode(L, 2, "mode", DIRECTORY_MODE);
  fs_of(op)->flags = option_flag(L, 2, "parents", false, NEAP__FS_PARENTS);
}

/* neap.fs.remove(path, {recursive =, missing_ok =}?) -> Task */
static void read_remove(lua_State *L, neap__op *op) {
  read_path(L, op);
  neapL__has_options(L, 2);
  fs_of(op)->flags = option_flag(L, 2, "recursive", false, NEAP__FS_RECURSIVE) |
                     option_flag(L, 2, "missing_ok", false, NEAP__FS_MISSING_OK);
}

/* neap.fs.access(path, mode?) -> Task<boolean> */
static void read_access(lua_State *L, neap__op *op) {
  read_path(L, op);
  int mode = F_OK;
  for (const char *letter = luaL_optstring(L, 2, ""); *letter; letter++) {
    switch (*letter) {
    case 'r': mode |= R_OK; break;
    case 'w': mode |= W_OK; break;
    case 'x': mode |= X_OK; break;
    default: luaL_argerror(L, 2, "letters of \"rwx\" expected");
    }
  }
  fs_of(op)->mode = mode;
}

/* neap.fs.chmod(path, mode) -> Task */
static void read_chmod(lua_State *L, neap__op *op) {
  read_path(L, op);
  fs_of(op)->mode = neapL__check_file_mode(L, 2);
}

/* nil: as it is */
static int64_t check_id(lua_State *L, int index) {
  if (lua_isnil(L, index)) return -1;
  lua_Integer id = luaL_checkinteger(L, index);
  luaL_argcheck(L, id >= 0 && id < UINT32_MAX, index, "the number of a user or group expected");
  return id;
}

/* neap.fs.chown(path, uid, gid, {follow =}?) -> Task */
static void read_chown(lua_State *L, neap__op *op) {
  neap__fs *fs = fs_of(op);
  read_path(L, op);
  fs->to.owner.uid = check_id(L, 2);
  fs->to.owner.gid = check_id(L, 3);
  fs->flags = option_follow(L, 4);
}

/* nil: now. What a time of the system can hold. */
double neapL__check_time(lua_State *L, int index) {
  const double most = 9e15;
  if (lua_isnil(L, index)) return NAN;
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= -most && seconds <= most, index, "a time in seconds expected");
  return seconds;
}

/* neap.fs.utime(path, atime?, mtime?, {follow =}?) -> Task */
static void read_utime(lua_State *L, neap__op *op) {
  neap__fs *fs = fs_of(op);
  read_path(L, op);
  fs->to.times[0] = neapL__check_time(L, 2);
  fs->to.times[1] = neapL__check_time(L, 3);
  fs->flags = option_follow(L, 4);
}

/* neap.fs.truncate(path, size?) -> Task */
static void read_truncate(lua_State *L, neap__op *op) {
  read_path(L, op);
  lua_Integer size = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, size >= 0, 2, "a size in bytes, 0 or more, expected");
  fs_of(op)->to.length = size;
}

/* core.fs.mkdtemp(prefix) -> Task<path> */
static void read_mkdtemp(lua_State *L, neap__op *op) {
  luaL_checkstring(L, 1);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "XXXXXX");
  lua_concat(L, 2);
  lua_replace(L, 1);
  read_path(L, op);
}

/* ---- Results ------------------------------------------------------------------------------- */

static int push_result(lua_State *L, neapL__state *state, int index) {
  neap__fs *fs = fs_at(L, index);
  (void)state;
  lua_pushlstring(L, fs->result ? fs->result : "", fs->size);
  neap__job_free(&fs->job, fs->result);
  fs->result = NULL;
  return 1;
}

static int push_true(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushboolean(L, fs_at(L, index)->is_true);
  return 1;
}

static const char *type_name(uv_dirent_type_t type) {
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

/* { {name =, type =}, ... } */
static int push_entries(lua_State *L, neapL__state *state, int index) {
  const neap__fs *fs = fs_at(L, index);
  (void)state;
  lua_createtable(L, (int)fs->size, 0);
  for (size_t i = 0; i < fs->size; i++) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, fs->entries[i].name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, type_name(fs->entries[i].type));
    lua_setfield(L, -2, "type");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

typedef struct number_field {
  const char *name;
  uint64_t value;
} number_field;

static void set_integers(lua_State *L, const number_field *fields) {
  for (; fields->name; fields++) {
    lua_pushinteger(L, (lua_Integer)fields->value);
    lua_setfield(L, -2, fields->name);
  }
}

static void set_time(lua_State *L, const char *name, const uv_timespec_t *time) {
  lua_pushnumber(L, (lua_Number)time->tv_sec + (lua_Number)time->tv_nsec / 1e9);
  lua_setfield(L, -2, name);
}

static uv_dirent_type_t type_of_mode(uint64_t mode) {
  switch (mode & 0170000) {
  case 0100000: return UV_DIRENT_FILE;
  case 0040000: return UV_DIRENT_DIR;
  case 0120000: return UV_DIRENT_LINK;
  case 0010000: return UV_DIRENT_FIFO;
  case 0140000: return UV_DIRENT_SOCKET;
  case 0020000: return UV_DIRENT_CHAR;
  case 0060000: return UV_DIRENT_BLOCK;
  default: return UV_DIRENT_UNKNOWN;
  }
}

void neapL__push_stat(lua_State *L, const uv_stat_t *stat) {
  const number_field fields[] = {
      {"size", stat->st_size},
      {"mode", stat->st_mode & 07777},
      {"uid", stat->st_uid},
      {"gid", stat->st_gid},
      {"dev", stat->st_dev},
      {"rdev", stat->st_rdev},
      {"ino", stat->st_ino},
      {"nlink", stat->st_nlink},
      {"blksize", stat->st_blksize},
      {"blocks", stat->st_blocks},
      {NULL, 0},
  };
  lua_createtable(L, 0, 15);
  lua_pushstring(L, type_name(type_of_mode(stat->st_mode)));
  lua_setfield(L, -2, "type");
  set_integers(L, fields);
  set_time(L, "atime", &stat->st_atim);
  set_time(L, "mtime", &stat->st_mtim);
  set_time(L, "ctime", &stat->st_ctim);
  if (stat->st_birthtim.tv_sec != 0) set_time(L, "birthtime", &stat->st_birthtim);
}

static int push_stat(lua_State *L, neapL__state *state, int index) {
  (void)state;
  neapL__push_stat(L, &((const neap__fs_info *)neapL__op_at(L, index))->is.stat);
  return 1;
}

static int push_statfs(lua_State *L, neapL__state *state, int index) {
  const uv_statfs_t *is = &((const neap__fs_info *)neapL__op_at(L, index))->is.statfs;
  const number_field fields[] = {
      {"type", is->f_type},     {"bsize", is->f_bsize},
      {"blocks", is->f_blocks}, {"bfree", is->f_bfree},
      {"bavail", is->f_bavail}, {"files", is->f_files},
      {"ffree", is->f_ffree},   {NULL, 0},
  };
  (void)state;
  lua_createtable(L, 0, 7);
  set_integers(L, fields);
  return 1;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

static const neapL__row fs_rows[] = {
    {"fs.read_file", &neap__fs_read_file.op, read_path, push_result, NULL},
    {"fs.write_file", &neap__fs_write_file.op, read_write_file, NULL, NULL},
    {"fs.append_file", &neap__fs_write_file.op, read_append_file, NULL, NULL},
    {"fs.copy_file", &neap__fs_copy_file.op, read_copy_file, NULL, NULL},
    {"fs.list", &neap__fs_list.op, read_path, push_entries, NULL},
    {"fs.list_directory", &neap__fs_list.op, read_list_directory, push_entries, NULL},
    {"fs.mkdir", &neap__fs_mkdir.op, read_mkdir, NULL, NULL},
    {"fs.remove", &neap__fs_remove.op, read_remove, NULL, NULL},
    {"fs.rename", &neap__fs_rename.op, read_two_paths, NULL, NULL},
    {"fs.link", &neap__fs_link.op, read_two_paths, NULL, NULL},
    {"fs.symlink", &neap__fs_symlink.op, read_two_paths, NULL, NULL},
    {"fs.readlink", &neap__fs_readlink.op, read_path, push_result, NULL},
    {"fs.realpath", &neap__fs_realpath.op, read_path, push_result, NULL},
    {"fs.stat", &neap__fs_stat.op, read_path, push_stat, NULL},
    {"fs.lstat", &neap__fs_lstat.op, read_path, push_stat, NULL},
    {"fs.statfs", &neap__fs_statfs.op, read_path, push_statfs, NULL},
    {"fs.access", &neap__fs_access.op, read_access, push_true, NULL},
    {"fs.chmod", &neap__fs_chmod.op, read_chmod, NULL, NULL},
    {"fs.chown", &neap__fs_chown.op, read_chown, NULL, NULL},
    {"fs.utime", &neap__fs_utime.op, read_utime, NULL, NULL},
    {"fs.truncate", &neap__fs_truncate.op, read_truncate, NULL, NULL},
    {"fs.mkdtemp", &neap__fs_mkdtemp.op, read_mkdtemp, push_result, NULL},
    {"fs.open", &neap__file_open_kind, neapL__read_open, neapL__push_file, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

void neapL__register_fs(lua_State *L) {
  lua_newtable(L);
  neapL__register_rows(L, fs_rows);
  lua_setfield(L, -2, "fs");
}
