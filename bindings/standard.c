#include "standard.h"

#include "../core/ops/standard.h"
#include "conn.h"
#include "error.h"

#include <unistd.h>

static const char class_name[] = "neap.Tty";
static const char *const stream_names[] = {"stdin", "stdout", "stderr", NULL};

static int raise_code(lua_State *L, int code, const char *syscall, const char *path) {
  neap_error error = {.code = code, .syscall = syscall, .path = path};
  neapL__push_core_error(L, neapL__state_here(L), &error);
  return lua_error(L);
}

/* ---- Terminals ------------------------------------------------------------------------------ */

static neap__stream *check_terminal(lua_State *L, const char *syscall) {
  neap__stream *stream = neapL__check_core(L, 1, &neapL__state_here(L)->tty_meta, class_name);
  if (stream->is_closing) raise_code(L, NEAP_ECLOSED, syscall, NULL);
  return stream;
}

/* tty:size() -> columns, rows */
static int get_size(lua_State *L) {
  int columns, rows;
  neap__stream *stream = check_terminal(L, "ioctl");
  int code = uv_tty_get_winsize(&stream->uv.tty, &columns, &rows);
  if (code) return raise_code(L, code, "ioctl", NULL);
  lua_pushinteger(L, columns);
  lua_pushinteger(L, rows);
  return 2;
}

/* tty:set_mode(mode) */
static int set_mode(lua_State *L) {
  static const char *const names[] = {"normal", "raw", "io", NULL};
  static const uv_tty_mode_t modes[] = {UV_TTY_MODE_NORMAL, UV_TTY_MODE_RAW, UV_TTY_MODE_IO};
  neap__stream *stream = check_terminal(L, "tcsetattr");
  int code = neap__terminal_set_mode(stream, modes[luaL_checkoption(L, 2, NULL, names)]);
  return code ? raise_code(L, code, "tcsetattr", NULL) : 0;
}

static const luaL_Reg terminal_methods[] = {
    {"size", get_size}, {"set_mode", set_mode}, {NULL, NULL}};

void neapL__open_terminals(lua_State *L, neapL__state *state) {
  neapL__conn_class(L, &state->tty_meta, class_name, terminal_methods);
}

/* ---- core.stdio ----------------------------------------------------------------------------- */

/* core.stdio.open(name) -> File, Conn or Tty */
static int open_standard(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  int fd = luaL_checkoption(L, 1, NULL, stream_names);
  neap__standard standard;
  const char *syscall;
  neapL__check_open(L, state);
  neapL__object *self = neapL__push_object(L, &state->conn_meta); /* before it acquires */
  int code = neap__standard_open(state->loop, fd, stream_names[fd], &standard, &syscall);
  if (code) return raise_code(L, code, syscall, stream_names[fd]);
  if (standard.file) {
    self->core = standard.file;
    neapL__set_meta(L, -1, &state->file_meta);
    return 1;
  }
  self->core = standard.stream;
  if (standard.stream->uv.handle.type == UV_TTY) neapL__set_meta(L, -1, &state->tty_meta);
  return 1;
}

/* core.stdio.is_tty(name) -> boolean */
static int is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty(luaL_checkoption(L, 1, NULL, stream_names)));
  return 1;
}

static const luaL_Reg functions[] = {
    {"open", open_standard}, {"is_tty", is_terminal}, {NULL, NULL}};

void neapL__register_stdio(lua_State *L) {
  lua_newtable(L);
  neapL__register(L, functions);
  lua_setfield(L, -2, "stdio");
}
