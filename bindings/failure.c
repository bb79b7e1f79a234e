#include "failure.h"

#include "error.h"
#include "report.h"
#include "task.h"

/* The field of the error at `index`, if it is a string; it is left on the stack. */
static const char *field(lua_State *L, int index, const char *name) {
  return lua_getfield(L, index, name) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

static void describe_fields(lua_State *L, int index, neap_error *error) {
  error->name = field(L, index, "code");
  error->message = field(L, index, "message");
  error->syscall = field(L, index, "syscall");
  error->path = field(L, index, "path");
  error->dest = field(L, index, "dest");
  error->address = field(L, index, "address");
  error->url = field(L, index, "url");
  int code = error->name ? neap_error_code(error->name) : 0;
  if (code) error->code = code;
}

static void describe_traceback(lua_State *L, int task, neap_error *error) {
  const neapL__handle *handle = neapL__to_handle(L, neapL__state_get(L), task);
  const neapL__failure *failure = handle && handle->task ? neapL__failure_at(L, task) : NULL;
  if (!failure || !neapL__push_failure(L, neapL__state_get(L), failure)) return;
  neapL__push_description(L, -1);
  error->traceback = lua_tostring(L, -1);
}

void neapL__describe_error(lua_State *L, int index, int task, neap_error *error) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 24, "an error");
  *error = (neap_error){.code = NEAP_ESCRIPT};
  bool is_error =
      lua_istable(L, index) && neapL__has_meta(L, index, &neapL__state_get(L)->error_meta);
  if (is_error) describe_fields(L, index, error);
  if (!error->name) error->name = neap_error_name(error->code);
  if (!error->message) error->message = luaL_tolstring(L, index, NULL);
  if (task) describe_traceback(L, task, error);
}
