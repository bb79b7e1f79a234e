#include "http_server.h"

#include "../conn.h"
#include "../coroutine.h"
#include "../driver.h"
#include "../error.h"
#include "../options.h"
#include "../report.h"

#include <math.h>
#include <string.h>

static const char class_name[] = "neap.http.Server";
static const char registry_key = 'h';

/* What belongs to one server. It is the data of its hooks, and freed with it: references in the registry. */
typedef struct handlers {
  const neapL__http_driver *driver;
  int handler, respond, failed;
  bool wants_response; /* the handler has a second parameter */
} handlers;

neapL__http_driver *neapL__http_driver_get(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
  neapL__http_driver *driver = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return driver;
}

static handlers *handlers_of(const neap__http_exchange *exchange) {
  return exchange->conn->server->data;
}

/* ---- In the handler's coroutine ------------------------------------------------------------------ */

static void respond(lua_State *L, neap__http_exchange *self, int status, const char *body,
                    size_t n) {
  if (neap__http_is_gone(self))
    self->answer = NEAP__HTTP_DONE;
  else if (neap__http_respond(self, status, body, n))
    neapL__raise_memory(L);
}

enum { TASK_REQUEST = 2 }; /* a user value of the handler's Task */

static int status_of(const neap__http_exchange *self, int otherwise) {
  return self->status ? self->status : otherwise;
}

/* What the handler has left open is completed. */
static int complete(lua_State *L, int lua_status, lua_KContext context) {
  neap__http_exchange *self = (neap__http_exchange *)context;
  (void)lua_status;
  if (self->answer == NEAP__HTTP_OPEN) respond(L, self, status_of(self, 204), "", 0);
  if (self->answer == NEAP__HTTP_DONE) return 0;
  int code = neap__http_finish(self);
  return code ? neapL__http_raise(L, code,
                                  "the body is shorter than the Content-Length that was set")
              : 0;
}

/* Each keeps the other: the Request, at `request`, and the Response on top. */
static void link_objects(lua_State *L, int request) {
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, request, NEAPL__HTTP_RESPONSE);
  lua_pushvalue(L, request);
  lua_setiuservalue(L, -2, NEAPL__HTTP_REQUEST);
}

/* Pushes a Response, which lives as long as the Task of the handler that runs here. */
static void push_response_here(lua_State *L, const handlers *all, neap__http_exchange *self) {
  neapL__push_body_task(L, neapL__current(all->driver->state));
  lua_getiuservalue(L, -1, TASK_REQUEST);
  neapL__http_push_response(L, all->driver, self);
  link_objects(L, lua_gettop(L) - 1);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* Anything but a status and a string is for Lua: respond(res, ...). */
static int respond_in_lua(lua_State *L, neap__http_exchange *self, int n) {
  const handlers *all = handlers_of(self);
  neapL__push_ref(L, all->respond);
  lua_insert(L, 1);
  push_response_here(L, all, self);
  lua_insert(L, 2);
  lua_callk(L, n + 1, 0, (lua_KContext)self, complete);
  return complete(L, LUA_OK, (lua_KContext)self);
}

static bool is_status(lua_State *L, int index) {
  if (!lua_isinteger(L, index)) return false;
  lua_Integer status = lua_tointeger(L, index);
  return status >= 200 && status <= 599;
}

/* The handler has returned: its values are the response, unless it has begun one itself. */
static int returned(lua_State *L, int lua_status, lua_KContext context) {
  neap__http_exchange *self = (neap__http_exchange *)context;
  int n = lua_gettop(L);
  (void)lua_status;
  if (self->answer != NEAP__HTTP_OPEN || n == 0 || (n == 1 && lua_isnil(L, 1)))
    return complete(L, LUA_OK, context);
  bool has_status = is_status(L, 1);
  int body = has_status ? 2 : 1;
  bool is_plain = n == body && lua_type(L, body) == LUA_TSTRING;
  if (!is_plain) return respond_in_lua(L, self, n);
  size_t length;
  const char *text = lua_tolstring(L, body, &length);
  respond(L, self, has_status ? (int)lua_tointeger(L, 1) : status_of(self, 200), text, length);
  return 0;
}

/* The body of the task: (handler, request, response?) */
static int handle(lua_State *L) {
  neap__http_exchange *const *request = lua_touserdata(L, 2);
  lua_KContext context = (lua_KContext)*request;
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, context, returned);
  return returned(L, LUA_OK, context);
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* From now on its objects are of no use. They are alive: the Task keeps them. */
static void forget_objects(neap__http_exchange *self) {
  if (self->request) *self->request = NULL;
  if (self->response) *self->response = NULL;
  self->request = self->response = NULL;
}

static void on_handled(neap__wait *wait) {
  neap__http_exchange *self = NEAP__CONTAINER(wait, neap__http_exchange, task_wait);
  if (handlers_of(self)->driver->state->is_closing) forget_objects(self);
  neap__http_end(self);
}

static neapL__task *push_task(lua_State *L, neapL__state *state, neap__http_exchange *self) {
  const handlers *all = self->conn->server->data;
  neap__routine *outer = state->loop->current;
  int base = lua_gettop(L);
  lua_pushcfunction(L, handle);
  neapL__push_ref(L, all->handler);
  neapL__http_push_request(L, all->driver, self);
  if (all->wants_response) {
    neapL__http_push_response(L, all->driver, self);
    link_objects(L, base + 3);
  }
  state->loop->current = self->conn->routine; /* whose locals it has, too */
  neapL__start where = {neap__current_node(state->loop), neap__current_owner(state->loop), false,
                        false, false};
  neapL__task *task =
      neapL__new_task(L, state, base + 1, base + 2, where, sizeof(neapL__task) + sizeof(void *));
  state->loop->current = outer;
  lua_pushvalue(L, base + 3);
  lua_setiuservalue(L, -2, TASK_REQUEST); /* it keeps the Request, which keeps the Response */
  return task;
}

static int go_on(lua_State *L, int status, lua_KContext context) {
  (void)L, (void)status, (void)context;
  return 0;
}

static bool has_failed(const neap__http_exchange *self) {
  return self->is_ended && neap_task_status(self->task) == NEAP_FAILED;
}

/* (exchange): most handlers end on the spot, and need no pin. */
static int start_protected(lua_State *L) {
  neap__http_exchange *self = lua_touserdata(L, 1);
  neapL__state *state = handlers_of(self)->driver->state;
  neapL__slot_reserve(L, &state->pins);
  neapL__task *task = push_task(L, state, self);
  self->task = &task->routine.task;
  self->task->flags |= NEAPL__IS_OBSERVED; /* its errors are told to those who serve */
  neap__wait_start(&self->task_wait, self->task, on_handled);
  neapL__run_now(L, state, task, go_on, 0);
  if (!self->is_ended || has_failed(self))
    self->pin = neapL__pin(L, state);
  else
    forget_objects(self);
  return 0;
}

/* A handler that could not be started: there was no memory. */
static void fail_start(neap__http_exchange *self) {
  static const char reason[] = "Service Unavailable";
  forget_objects(self);
  self->closes = true;
  if (neap__http_respond(self, 503, reason, sizeof reason - 1)) self->is_broken = true;
  neap__http_end(self);
}

static void start(void *data, neap__http_exchange *exchange) {
  neapL__state *state = ((const handlers *)data)->driver->state;
  lua_State *L = state->runner;
  neap__routine *outer = state->loop->current;
  if (!lua_checkstack(L, 4)) {
    fail_start(exchange);
    return;
  }
  lua_pushcfunction(L, start_protected);
  lua_pushlightuserdata(L, exchange);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  lua_pop(L, 1);
  state->loop->current = outer;
  if (!exchange->task) fail_start(exchange);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

/* A status for the client; what it has done itself is nobody else's fault. */
static void respond_to_failure(neap__http_exchange *self) {
  int refusal = self->conn->refusal;
  if (self->answer != NEAP__HTTP_OPEN) {
    self->is_broken = self->answer == NEAP__HTTP_STREAMING;
    return;
  }
  int status = refusal ? refusal : 500;
  const char *reason = neap__http_reason(status);
  self->lines.length = 0;
  self->has_type = self->has_date = false;
  self->length = -1;
  if (neap__http_respond(self, status, reason, strlen(reason))) self->is_broken = true;
}

/* failed(err, task, request), on top of L is the Task */
static void report(lua_State *L, neapL__state *state, const neap__http_exchange *self) {
  int index = lua_gettop(L);
  neapL__push_ref(L, handlers_of(self)->failed);
  neapL__push_error(L, state, index);
  lua_pushvalue(L, index);
  lua_getiuservalue(L, index, TASK_REQUEST);
  neapL__call_back(L, state, 3);
}

static int report_protected(lua_State *L) {
  const neap__http_exchange *self = lua_touserdata(L, 1);
  neapL__state *state = handlers_of(self)->driver->state;
  neapL__slot_push(L, &state->pins, self->pin);
  report(L, state, self);
  return 0;
}

static void report_failure(neapL__state *state, neap__http_exchange *self) {
  lua_State *L = state->runner;
  if (!self->pin || !lua_checkstack(L, 4)) return;
  lua_pushcfunction(L, report_protected);
  lua_pushlightuserdata(L, self);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

static void ended(void *data, neap__http_exchange *self) {
  neapL__state *state = ((const handlers *)data)->driver->state;
  neap_status status = self->pin ? neap_task_status(self->task) : NEAP_DONE;
  bool is_refused = self->conn->refusal || self->has_lost || self->conn->phase == NEAP__HTTP_OVER;
  if (status == NEAP_FAILED) {
    if (!is_refused) report_failure(state, self);
    respond_to_failure(self);
  }
  if (status == NEAP_CANCELLED) self->is_broken = true;
  forget_objects(self);
  if (self->pin) neapL__slot_free(state->aux, &state->pins, self->pin);
  self->pin = 0;
  self->task = NULL;
}

/* ---- A server --------------------------------------------------------------------------------- */

static void release(void *data) {
  handlers *self = data;
  neapL__state *state = self->driver->state;
  lua_State *L = state->aux;
  luaL_unref(L, LUA_REGISTRYINDEX, self->handler);
  luaL_unref(L, LUA_REGISTRYINDEX, self->respond);
  luaL_unref(L, LUA_REGISTRYINDEX, self->failed);
  neap__memory_free(&state->loop->memory, self);
}

static bool has_second_parameter(lua_State *L, int index) {
  lua_Debug ar;
  if (!lua_isfunction(L, index)) return true;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">u", &ar);
  return ar.nparams > 1 || ar.isvararg;
}

static double check_limit(lua_State *L, const char *name, double otherwise) {
  return neapL__option_seconds(L, 1, name, otherwise);
}

static size_t check_size(lua_State *L, const char *name, size_t otherwise) {
  if (lua_getfield(L, 1, name) == LUA_TNUMBER && lua_tonumber(L, -1) == HUGE_VAL) {
    lua_pop(L, 1);
    return SIZE_MAX;
  }
  lua_pop(L, 1);
  return (size_t)neapL__option_integer(L, 1, name, 0, LUA_MAXINTEGER, (lua_Integer)otherwise);
}

enum { DEFAULT_HEAD = 16 * 1024, DEFAULT_BODY = 16 * 1024 * 1024 };

static void read_options(lua_State *L, neap__http_server *self) {
  self->max_head = check_size(L, "max_header", DEFAULT_HEAD);
  self->max_body = check_size(L, "max_body", DEFAULT_BODY);
  self->head_timeout = check_limit(L, "header_timeout", 20);
  self->idle_timeout = check_limit(L, "idle_timeout", 60);
  self->ignores_hangup = !neapL__option_boolean(L, 1, "cancel_on_disconnect", true);
}

static const neap__http_hooks hooks = {start, ended, release};

static handlers *new_handlers(lua_State *L, neapL__http_driver *driver) {
  handlers *self = neap__memory_new(&driver->state->loop->memory, sizeof *self);
  if (!self) return NULL;
  *self = (handlers){driver, LUA_NOREF, LUA_NOREF, LUA_NOREF, has_second_parameter(L, 2)};
  return self;
}

static int take_ref(lua_State *L, int index) {
  lua_pushvalue(L, index);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* server(options, handler, respond, failed) -> Server */
static int new_server(lua_State *L) {
  neapL__http_driver *driver = neapL__http_driver_get(L);
  neapL__state *state = driver->state;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 4);
  neapL__check_open(L, state);
  neapL__object *object = neapL__push_object(L, &driver->server_meta);
  handlers *all = new_handlers(L, driver);
  neap__http_server *self = all ? neap__http_server_new(state->loop, hooks, all) : NULL;
  if (!self) {
    neap__memory_free(&state->loop->memory, all);
    return neapL__raise_memory(L);
  }
  object->core = self;
  all->handler = take_ref(L, 2);
  all->respond = take_ref(L, 3);
  all->failed = take_ref(L, 4);
  read_options(L, self);
  return 1;
}

static neap__http_server *check_server(lua_State *L, int index) {
  return neapL__check_core(L, index, &neapL__http_driver_get(L)->server_meta, class_name);
}

/* serve(conn, server) -> Task, done when the connection has ended */
static void read_serve(lua_State *L, neap__op *op) {
  neap__http_conn *self = (neap__http_conn *)op;
  neap__stream *stream = neapL__check_conn(L);
  neap__http_server *server = check_server(L, 2);
  self->stream = stream;
  self->stream->refs++;
  self->server = server;
  self->server->refs++;
}

static const neapL__row rows[] = {
    {"http.serve", &neap__http_conn_kind, read_serve, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* server:stop() */
static int stop(lua_State *L) {
  neap__http_server_stop(check_server(L, 1));
  return 0;
}

static int collect(lua_State *L) {
  neapL__object *object = lua_touserdata(L, 1);
  neap__http_server *self = object->core;
  object->core = NULL;
  if (self) neap__http_server_unref(self);
  return 0;
}

/* ---- Dates ----------------------------------------------------------------------------------- */

/* format_date(seconds) -> as in a head */
static int format_date(lua_State *L) {
  char text[32];
  neap__http_format_date((time_t)luaL_checknumber(L, 1), text);
  lua_pushstring(L, text);
  return 1;
}

/* parse_date(text) -> seconds | nil */
static int parse_date(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  time_t time = neap__http_parse_date(text, length);
  if (time < 0) return 0;
  lua_pushinteger(L, (lua_Integer)time);
  return 1;
}

/* reason(status) -> "Not Found" */
static int reason(lua_State *L) {
  lua_pushstring(L, neap__http_reason((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* ---- The module ------------------------------------------------------------------------------ */

static const luaL_Reg metamethods[] = {{"__gc", collect}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"stop", stop}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"server", new_server},
                                     {"format_date", format_date},
                                     {"parse_date", parse_date},
                                     {"reason", reason},
                                     {NULL, NULL}};

NEAP_API int luaopen_neap_http_server_driver(lua_State *L);

int luaopen_neap_http_server_driver(lua_State *L) {
  neapL__check_driver(L, "http_server");
  neapL__state *state = neapL__state_get(L);
  neapL__http_driver *driver = lua_newuserdatauv(L, sizeof *driver, 0);
  *driver = (neapL__http_driver){.state = state};
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
  lua_newtable(L);
  neapL__class(L, &driver->server_meta, class_name, metamethods, methods);
  lua_pop(L, 1);
  neapL__http_open_requests(L, driver);
  neapL__http_open_responses(L, driver);
  neapL__register(L, functions);
  neapL__register_rows(L, rows);
  return 1;
}
