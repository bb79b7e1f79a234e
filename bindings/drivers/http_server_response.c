#include "http_server.h"

#include "../error.h"
#include "../file.h"

#include <string.h>

static const char class_name[] = "neap.http.ServerResponse";

void neapL__http_push_response(lua_State *L, const neapL__http_driver *driver,
                               neap__http_exchange *exchange) {
  neap__http_exchange **self = lua_newuserdatauv(L, sizeof *self, NEAPL__HTTP_REQUEST);
  *self = exchange;
  neapL__set_meta(L, -1, &driver->response_meta);
  exchange->response = (void **)self;
}

neap__http_exchange *neapL__http_check_response(lua_State *L, int index) {
  const neapL__meta *meta = &neapL__http_driver_get(L)->response_meta;
  neap__http_exchange **self = neapL__check_object(L, index, meta, class_name);
  if (!*self) neapL__misuse(L, "the response is over: its handler has ended");
  return *self;
}

static neap__http_exchange *check_open(lua_State *L) {
  neap__http_exchange *self = neapL__http_check_response(L, 1);
  if (self->answer != NEAP__HTTP_OPEN)
    neapL__misuse(L, "the head of the response has been sent: it cannot be changed, or sent again");
  return self;
}

int neapL__http_check_status(lua_State *L, int index) {
  lua_Integer status = luaL_checkinteger(L, index);
  luaL_argcheck(L, status >= 200 && status <= 599, index, "a status from 200 to 599 expected");
  return (int)status;
}

int neapL__http_raise(lua_State *L, int code, const char *what) {
  if (code == UV_ENOMEM) return neapL__raise_memory(L);
  return neapL__misuse(L, "%s", what);
}

/* ---- The head ---------------------------------------------------------------------------------- */

static void set_field(lua_State *L, neap__http_exchange *self, bool replaces) {
  size_t name_length, length;
  const char *name = luaL_checklstring(L, 2, &name_length);
  const char *value = luaL_checklstring(L, 3, &length);
  int code = neap__http_set_field(self, name, name_length, value, length, replaces);
  luaL_argcheck(
      L, code != UV_EINVAL, 3,
      "no such header: a name is a word, a value has no line breaks or control characters, "
      "Content-Length is a number");
  luaL_argcheck(L, code != NEAP_EMISUSE, 2,
                "this header is the server's to set; Connection may be 'close'");
  if (code) neapL__raise_memory(L);
}

/* res:header(name) -> what is set; res:header(name, value | nil): sets it, or takes it away */
static int header(lua_State *L) {
  size_t name_length, length;
  if (lua_gettop(L) >= 3) {
    neap__http_exchange *self = check_open(L);
    const char *name = luaL_checklstring(L, 2, &name_length);
    if (lua_isnil(L, 3))
      neap__http_drop_field(self, name, name_length);
    else
      set_field(L, self, true);
    return 0;
  }
  const neap__http_exchange *self = neapL__http_check_response(L, 1);
  const char *name = luaL_checklstring(L, 2, &name_length);
  const char *value = neap__http_get_field(self, name, name_length, &length);
  if (value)
    lua_pushlstring(L, value, length);
  else
    lua_pushnil(L);
  return 1;
}

/* res:add_header(name, value): besides others of that name */
static int add_header(lua_State *L) {
  set_field(L, check_open(L), false);
  return 0;
}

/* ---- In one piece ------------------------------------------------------------------------------ */

static int send_whole(lua_State *L, neap__http_exchange *self, int status, const char *body,
                      size_t n) {
  if (neap__http_is_gone(self)) { /* nobody is there to see it */
    self->answer = NEAP__HTTP_DONE;
    return 0;
  }
  return neap__http_respond(self, status, body, n) ? neapL__raise_memory(L) : 0;
}

/* res:send(body?), res:send(status, body?) */
static int send_response(lua_State *L) {
  neap__http_exchange *self = check_open(L);
  bool has_status = lua_type(L, 2) == LUA_TNUMBER;
  int status = has_status ? neapL__http_check_status(L, 2) : self->status ? self->status : 200;
  size_t n;
  const char *body = luaL_optlstring(L, has_status ? 3 : 2, "", &n);
  return send_whole(L, self, status, body, n);
}

/* ---- Piece by piece ---------------------------------------------------------------------------- */

static void begin(lua_State *L, neap__http_exchange *self) {
  if (self->answer == NEAP__HTTP_OPEN && neap__http_begin(self)) neapL__raise_memory(L);
}

static void check_can_write(lua_State *L, neap__http_exchange *self, size_t n) {
  if (self->answer == NEAP__HTTP_DONE) neapL__misuse(L, "the response is complete");
  if (self->is_writing)
    neapL__misuse(L, "two writes at once on one response: await the first one before the next");
  if (self->length >= 0 && self->written + (int64_t)n > self->length)
    neapL__misuse(L, "the body is longer than the Content-Length that was set");
}

static void put_buffer(neap__write *self, const char *data, size_t n) {
  if (n == 0) return;
  self->buffers[self->count++] = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
  self->size += n;
}

/* All that is written at this moment: what the connection has gathered, the arguments, the end of the
 * chunk. The bytes are where they are until the write has started. */
static void put_buffers(lua_State *L, neap__http_exchange *self, neap__write *write, int last,
                        const char *tail) {
  neap__bytes *out = &self->conn->out;
  put_buffer(write, out->data, out->length);
  out->length = 0;
  for (int i = 2; tail && i <= last; i++) {
    size_t n;
    const char *data = lua_tolstring(L, i, &n);
    put_buffer(write, data, n);
  }
  if (tail) put_buffer(write, tail, strlen(tail));
}

static void use_stream(neap__http_exchange *self, neap__write *write) {
  write->stream = self->conn->stream;
  write->stream->refs++;
  neap__http_follow_write(self, &write->op);
}

/* res:write(...) -> Task: strings and numbers, as a piece of the body */
static void read_write(lua_State *L, neap__op *op) {
  int last = neapL__state_here(L)->arguments;
  neap__http_exchange *self = neapL__http_check_response(L, 1);
  neap__write *write = (neap__write *)op;
  size_t total = 0;
  for (int i = 2; i <= last; i++) {
    size_t n;
    luaL_checklstring(L, i, &n);
    total += n;
  }
  check_can_write(L, self, total);
  if (!neap__write_reserve(write, (unsigned)last + 1)) neapL__raise_memory(L);
  begin(L, self);
  bool has_content = total > 0 && neap__http_has_content(self, self->status);
  const char *tail = has_content ? neap__http_chunk(self, total) : NULL;
  if (has_content && !tail) neapL__raise_memory(L);
  if (has_content) self->written += (int64_t)total;
  put_buffers(L, self, write, last, tail);
  use_stream(self, write);
}

/* res:finish(): the body ends here */
static int finish(lua_State *L) {
  neap__http_exchange *self = neapL__http_check_response(L, 1);
  if (self->answer == NEAP__HTTP_DONE) return 0;
  if (self->is_writing)
    neapL__misuse(L, "a write is under way: await it before the response is finished");
  if (self->answer == NEAP__HTTP_OPEN)
    return send_whole(L, self, self->status ? self->status : 200, "", 0);
  int code = neap__http_finish(self);
  return code ? neapL__http_raise(L, code,
                                  "the body is shorter than the Content-Length that was set")
              : 0;
}

/* ---- Files ------------------------------------------------------------------------------------ */

/* sendfile(file, res, offset, count) -> Task<bytes>: what the socket takes */
static void read_sendfile(lua_State *L, neap__op *op) {
  neap__http_sendfile *self = (neap__http_sendfile *)op;
  const neap__file *file = neapL__check_file(L);
  neap__http_exchange *exchange = neapL__http_check_response(L, 2);
  self->offset = luaL_checkinteger(L, 3);
  self->count = luaL_checkinteger(L, 4);
  check_can_write(L, exchange, (size_t)self->count);
  self->file = file->fd;
  self->stream = exchange->conn->stream;
  self->stream->refs++;
  neap__http_follow_write(exchange, op);
}

static int push_sent(lua_State *L, neapL__state *state, int index) {
  (void)state;
  lua_pushinteger(L, (lua_Integer)((neap__http_sendfile *)(void *)neapL__op_at(L, index))->sent);
  return 1;
}

static const neapL__row file_rows[] = {
    {"sendfile", &neap__http_sendfile_kind, read_sendfile, push_sent, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* request_of(res) -> its Request */
static int request_of(lua_State *L) {
  neapL__http_check_response(L, 1);
  lua_getiuservalue(L, 1, NEAPL__HTTP_REQUEST);
  return 1;
}

static const luaL_Reg functions[] = {{"request_of", request_of}, {NULL, NULL}};

/* ---- The class ------------------------------------------------------------------------------- */

static const neapL__row rows[] = {
    {"write", &neap__write_kind, read_write, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* res.status, res.is_sent; upvalues: the state, the methods */
static int index_response(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  const char *name = lua_tostring(L, 2);
  bool is_status = strcmp(name, "status") == 0;
  if (!is_status && strcmp(name, "is_sent") != 0) return 0;
  const neap__http_exchange *self = neapL__http_check_response(L, 1);
  if (!is_status)
    lua_pushboolean(L, self->answer != NEAP__HTTP_OPEN);
  else if (self->status)
    lua_pushinteger(L, self->status);
  else
    lua_pushnil(L);
  return 1;
}

/* res.status = n */
static int set_status(lua_State *L) {
  neap__http_exchange *self = check_open(L);
  const char *name = luaL_checkstring(L, 2);
  if (strcmp(name, "status") != 0)
    return neapL__misuse(L, "a response has no field '%s' that can be set; its status can", name);
  self->status = neapL__http_check_status(L, 3);
  return 0;
}

static int to_string(lua_State *L) {
  neap__http_exchange *const *self = lua_touserdata(L, 1);
  static const char *const words[] = {"open", "streaming", "complete"};
  lua_pushfstring(L, "%s: %s", class_name, *self ? words[(*self)->answer] : "over");
  return 1;
}

static const luaL_Reg metamethods[] = {
    {"__newindex", set_status}, {"__tostring", to_string}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"header", header},
                                   {"add_header", add_header},
                                   {"send", send_response},
                                   {"finish", finish},
                                   {NULL, NULL}};

void neapL__http_open_responses(lua_State *L, neapL__http_driver *driver) {
  neapL__object_class(L, &driver->response_meta, class_name, metamethods, methods, rows);
  neapL__push_ref(L, driver->response_meta.ref);
  lua_getfield(L, -1, "__index");
  lua_setfield(L, -3, "response_methods");
  lua_pushlightuserdata(L, driver->state);
  lua_getfield(L, -2, "__index");
  lua_pushcclosure(L, index_response, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  neapL__register_rows(L, file_rows);
  neapL__register(L, functions);
}
