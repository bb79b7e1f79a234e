#include "token.h"

#include "../core/cancel.h"
#include "../core/loop.h"
#include "coroutine.h"
#include "error.h"
#include "locals.h"
#include "operations.h"
#include "report.h"

#include <math.h>
#include <string.h>

/* How a linked token hears of one of those it was made of. */
typedef struct token_link {
  neap_registration registration;
  neap_token *root;
} token_link;

/* A token. User values: the table of its registrations, which keeps them; for linked ones the list
 * of the tokens that they were made of, none of which is linked itself (`roots`).
 *
 * A linked token without registrations is held by nobody but its users, and unlinks itself in its
 * __gc. One with registrations has something to do, so its roots keep it, in the table of theirs. */
typedef struct token_object {
  neapL__state *state;
  neap_token *token;
  size_t registered;
  size_t links_count;
  token_link links[];
} token_object;

enum { TOKEN_REGISTRATIONS = 1, TOKEN_ROOTS };

/* User values: the function, the locals of the moment, the token's object. */
typedef struct registration_object {
  neap_registration registration;
  neapL__state *state;
} registration_object;

enum { REGISTRATION_FUNCTION = 1, REGISTRATION_LOCALS, REGISTRATION_TOKEN };

/* Its finalizer has run, when the Lua state closes. */
static token_object *check_unfinalized(lua_State *L, token_object *self) {
  if (!self->token) neapL__misuse(L, "the token was finalized: its Lua state is ending");
  return self;
}

static token_object *check_token_object(lua_State *L, int index) {
  return check_unfinalized(
      L, neapL__check_object(L, index, &neapL__state_here(L)->token_meta, "neap.Token"));
}

neap_token *neapL__check_token(lua_State *L, int index) {
  return check_token_object(L, index)->token;
}

/* ---- Making -------------------------------------------------------------------------------- */

static token_object *push_object(lua_State *L, neapL__state *state, size_t links) {
  size_t size = sizeof(token_object) + links * sizeof(token_link);
  token_object *self = lua_newuserdatauv(L, size, 2);
  memset(self, 0, size);
  self->state = state;
  neapL__set_meta(L, -1, &state->token_meta);
  return self;
}

static token_object *push_new_token(lua_State *L, neapL__state *state, size_t links) {
  neapL__check_open(L, state);
  token_object *self = push_object(L, state, links);
  if (neap_token_new(state->loop, &self->token)) neapL__raise_memory(L);
  return self;
}

neap_token *neapL__push_new_token(lua_State *L, neapL__state *state) {
  return push_new_token(L, state, 0)->token;
}

/* neap.canceller() -> src */
static int canceller(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  lua_newuserdatauv(L, 0, 1);
  push_new_token(L, state, 0);
  lua_setiuservalue(L, -2, 1);
  neapL__set_meta(L, -1, &state->canceller_meta);
  return 1;
}

static int token_gc(lua_State *L) {
  token_object *self = lua_touserdata(L, 1);
  for (size_t i = 0; i < self->links_count; i++)
    neap_token_unregister(&self->links[i].registration);
  self->links_count = 0;
  if (self->token) neap_token_unref(self->token);
  self->token = NULL;
  return 0;
}

/* ---- Cancelling ---------------------------------------------------------------------------- */

void neapL__push_token_reason(lua_State *L, const neapL__state *state, const neap_token *token) {
  if (token->cause && token->cause->host)
    neapL__slot_push(L, &state->pins, token->cause->host);
  else if (token->timed_out)
    lua_pushliteral(L, "timeout");
  else
    lua_pushnil(L);
}

/* Puts the token of the canceller at 1 in its place. */
static token_object *check_canceller(lua_State *L) {
  const neapL__state *state = neapL__state_here(L);
  neapL__check_object(L, 1, &state->canceller_meta, "neap.Canceller");
  lua_getiuservalue(L, 1, 1);
  lua_replace(L, 1);
  return check_unfinalized(L, lua_touserdata(L, 1));
}

/* src:cancel(reason?) -> whether this call has cancelled it; callbacks have run when it returns */
static int canceller_cancel(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  token_object *self = check_canceller(L);
  lua_settop(L, 2);
  neapL__check_alive(L, state);
  bool is_first = !self->token->is_cancelled;
  if (is_first) {
    neap__cause *cause = neapL__new_cause(L, state, 2);
    lua_State *outer = state->caller;
    state->caller = L;
    neap__token_cancel(self->token, cause);
    state->caller = outer;
  }
  lua_pushboolean(L, is_first);
  return 1;
}

/* A pending time limit keeps the token, whoever else has let it go; until it has called all. */
static void pin_while_armed(lua_State *L, const token_object *self, bool is_armed) {
  neap_token *token = self->token;
  if (is_armed && !token->host) {
    lua_pushvalue(L, 1);
    token->host = neapL__pin(L, self->state);
  } else if (!is_armed && token->host) {
    neapL__slot_free(L, &self->state->pins, token->host);
    token->host = 0;
  }
}

/* src:cancel_after(seconds): the last call counts; math.huge for never */
static int canceller_cancel_after(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  token_object *self = check_canceller(L);
  double seconds = neapL__check_seconds(L, 2);
  neapL__check_open(L, state);
  if (self->token->is_cancelled) return 0;
  pin_while_armed(L, self, seconds < HUGE_VAL);
  if (!neap_token_cancel_after(self->token, seconds)) return 0;
  pin_while_armed(L, self, false);
  return neapL__raise_memory(L);
}

/* src.token, or a method (upvalue 2) */
static int canceller_index(lua_State *L) {
  const char *key = lua_tostring(L, 2);
  if (key && strcmp(key, "token") == 0)
    lua_getiuservalue(L, 1, 1);
  else
    lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

/* ---- Linked tokens --------------------------------------------------------------------------- */

static void on_root_cancelled(neap_registration *registration) {
  token_object *self = registration->data;
  const neap_token *root = NEAP__CONTAINER(registration, token_link, registration)->root;
  if (self->token->is_cancelled) return;
  self->token->timed_out = root->timed_out;
  neap__token_cancel(self->token, neap__cause_ref(root->cause));
}

/* Adds the token on top to the list at `list`, unless the set behind it has it already. [-1] */
static void add_root(lua_State *L, int list) {
  lua_pushvalue(L, -1);
  if (lua_rawget(L, list + 1) != LUA_TNIL) {
    lua_pop(L, 2);
    return;
  }
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_pushboolean(L, 1);
  lua_rawset(L, list + 1);
  lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

/* Pushes the tokens at 1 to n, or what they were made of, as a list, each of them once. */
static void push_roots(lua_State *L, int n) {
  lua_newtable(L);
  lua_newtable(L);
  for (int i = 1; i <= n; i++) {
    check_token_object(L, i);
    if (lua_getiuservalue(L, i, TOKEN_ROOTS) != LUA_TTABLE) {
      lua_pop(L, 1);
      lua_pushvalue(L, i);
      add_root(L, n + 1);
      continue;
    }
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer k = 1; k <= count; k++) {
      lua_rawgeti(L, -1, k);
      add_root(L, n + 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* neap.link(token, ...) -> token */
static int link_tokens(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  int n = lua_gettop(L);
  check_token_object(L, 1);
  push_roots(L, n);
  size_t count = lua_rawlen(L, n + 1);
  token_object *self = push_new_token(L, state, count);
  lua_pushvalue(L, n + 1);
  lua_setiuservalue(L, -2, TOKEN_ROOTS);
  for (size_t i = 0; i < count && !self->token->is_cancelled; i++) {
    lua_rawgeti(L, n + 1, (lua_Integer)i + 1);
    const token_object *root = lua_touserdata(L, -1);
    lua_pop(L, 1);
    self->links[i] = (token_link){.registration = {.call = on_root_cancelled, .data = self},
                                  .root = root->token};
    self->links_count = i + 1;
    neap_token_register(root->token, &self->links[i].registration);
  }
  return 1;
}

/* Pushes the table of registrations of the token at `index`. [-0, +1, m] */
static void push_registrations(lua_State *L, int index) {
  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, TOKEN_REGISTRATIONS) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, TOKEN_REGISTRATIONS);
}

/* Lets the roots of the linked token at `index` keep it, or not any more. */
static void keep_linked(lua_State *L, int index, bool is_kept) {
  index = lua_absindex(L, index);
  if (lua_getiuservalue(L, index, TOKEN_ROOTS) == LUA_TTABLE) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= count; i++) {
      lua_rawgeti(L, -1, i);
      push_registrations(L, -1);
      lua_pushvalue(L, index);
      if (is_kept)
        lua_pushboolean(L, 1);
      else
        lua_pushnil(L);
      lua_rawset(L, -3);
      lua_pop(L, 2);
    }
  }
  lua_pop(L, 1);
}

/* ---- Registrations --------------------------------------------------------------------------- */

/* Forgets the registration at `index` with its token: it was called, or taken back. */
static void leave_token(lua_State *L, int index) {
  index = lua_absindex(L, index);
  lua_getiuservalue(L, index, REGISTRATION_TOKEN);
  token_object *token = lua_touserdata(L, -1);
  push_registrations(L, -1);
  lua_pushvalue(L, index);
  lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  if (--token->registered == 0) keep_linked(L, -1, false);
  lua_pop(L, 1);
}

/* (reason): calls the function of the registration at 1 with the reason at 2. */
static int call_protected(lua_State *L) {
  neapL__state *state = neapL__state_get(L);
  lua_getiuservalue(L, 1, REGISTRATION_LOCALS);
  uint32_t former = neapL__enter_locals(L, state);
  lua_getiuservalue(L, 1, REGISTRATION_FUNCTION);
  lua_pushvalue(L, 2);
  neapL__call_back(L, state, 1);
  neapL__leave_locals(state, former);
  return 0;
}

/* The registration and the reason are on top. [-2] */
static void call_registration(lua_State *L, neapL__state *state) {
  lua_pushcfunction(L, call_protected);
  lua_insert(L, -3);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) neapL__report_error(L, state); /* no memory */
}

static void on_cancelled(neap_registration *registration) {
  registration_object *self = NEAP__CONTAINER(registration, registration_object, registration);
  neapL__state *state = self->state;
  lua_State *L = state->caller ? state->caller : state->runner;
  if (!lua_checkstack(L, LUA_MINSTACK)) return;
  neapL__push_ref(L, state->registrations_ref);
  lua_rawgetp(L, -1, self);
  lua_remove(L, -2);
  if (lua_isnil(L, -1)) { /* collected with its token */
    lua_pop(L, 1);
    return;
  }
  lua_getiuservalue(L, -1, REGISTRATION_TOKEN);
  neapL__push_token_reason(L, state, ((token_object *)lua_touserdata(L, -1))->token);
  lua_remove(L, -2);
  leave_token(L, -2);
  call_registration(L, state);
}

static registration_object *push_registration(lua_State *L, neapL__state *state) {
  registration_object *self = lua_newuserdatauv(L, sizeof *self, 3);
  *self = (registration_object){.registration = {.call = on_cancelled}, .state = state};
  neapL__set_meta(L, -1, &state->registration_meta);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, REGISTRATION_FUNCTION);
  neapL__push_locals(L, state);
  lua_setiuservalue(L, -2, REGISTRATION_LOCALS);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, REGISTRATION_TOKEN);
  return self;
}

/* So that it is found again, and stays as long as its token does. */
static void keep_registration(lua_State *L, neapL__state *state, registration_object *self) {
  int index = lua_gettop(L);
  neapL__push_ref(L, state->registrations_ref);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, self);
  push_registrations(L, 1);
  lua_pushvalue(L, index);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_settop(L, index);
}

/* token:register(fn) -> registration; fn(reason) is called when the token is cancelled */
static int token_register(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  token_object *token = check_token_object(L, 1);
  neapL__check_callable(L, 2);
  neapL__check_open(L, state);
  lua_settop(L, 2);
  registration_object *self = push_registration(L, state);
  if (token->token->is_cancelled) {
    lua_pushvalue(L, 3);
    neapL__push_token_reason(L, state, token->token);
    call_registration(L, state);
    return 1;
  }
  keep_registration(L, state, self);
  if (token->registered == 0) keep_linked(L, 1, true);
  token->registered++;
  neap_token_register(token->token, &self->registration);
  return 1;
}

/* registration:unregister() -> whether it was taken back before it ran */
static int registration_unregister(lua_State *L) {
  const neapL__state *state = neapL__state_here(L);
  registration_object *self =
      neapL__check_object(L, 1, &state->registration_meta, "neap.Registration");
  bool is_taken_back = neap_token_unregister(&self->registration);
  if (is_taken_back) leave_token(L, 1);
  lua_pushboolean(L, is_taken_back);
  return 1;
}

/* ---- Looking ------------------------------------------------------------------------------- */

/* token:check(): raises ECANCELLED if it is cancelled */
static int token_check(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const token_object *self = check_token_object(L, 1);
  if (!self->token->is_cancelled) return 0;
  neapL__push_new_error(L, state, "ECANCELLED", "the token was cancelled");
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "token");
  neapL__push_token_reason(L, state, self->token);
  lua_setfield(L, -2, "reason");
  return lua_error(L);
}

/* token.cancelled, token.reason, or a method (upvalue 2) */
static int token_index(lua_State *L) {
  const token_object *self = check_token_object(L, 1);
  const char *key = lua_tostring(L, 2);
  if (key && strcmp(key, "cancelled") == 0)
    lua_pushboolean(L, self->token->is_cancelled);
  else if (key && strcmp(key, "reason") == 0)
    neapL__push_token_reason(L, self->state, self->token);
  else
    lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static int push_text(lua_State *L, const char *name, const token_object *self) {
  const char *text = "";
  if (!self->token)
    text = ": finalized";
  else if (self->token->is_cancelled)
    text = ": cancelled";
  lua_pushfstring(L, "%s%s", name, text);
  return 1;
}

static int token_tostring(lua_State *L) {
  const neapL__state *state = neapL__state_here(L);
  return push_text(L, "neap.Token", neapL__check_object(L, 1, &state->token_meta, "neap.Token"));
}

static int canceller_tostring(lua_State *L) {
  const neapL__state *state = neapL__state_here(L);
  neapL__check_object(L, 1, &state->canceller_meta, "neap.Canceller");
  lua_getiuservalue(L, 1, 1);
  return push_text(L, "neap.Canceller", lua_touserdata(L, -1));
}

static int registration_tostring(lua_State *L) {
  const registration_object *self =
      neapL__check_object(L, 1, &neapL__state_here(L)->registration_meta, "neap.Registration");
  lua_pushfstring(L, "neap.Registration%s", self->registration.token ? "" : ": ended");
  return 1;
}

/* ---- Opening ------------------------------------------------------------------------------- */

static const luaL_Reg token_methods[] = {
    {"register", token_register}, {"check", token_check}, {NULL, NULL}};
static const luaL_Reg token_metamethods[] = {
    {"__gc", token_gc}, {"__tostring", token_tostring}, {NULL, NULL}};

static const luaL_Reg canceller_methods[] = {
    {"cancel", canceller_cancel}, {"cancel_after", canceller_cancel_after}, {NULL, NULL}};
static const luaL_Reg canceller_metamethods[] = {{"__tostring", canceller_tostring}, {NULL, NULL}};

static const luaL_Reg registration_methods[] = {{"unregister", registration_unregister},
                                                {NULL, NULL}};
static const luaL_Reg registration_metamethods[] = {
    {"__close", registration_unregister}, {"__tostring", registration_tostring}, {NULL, NULL}};

void neapL__open_tokens(lua_State *L, neapL__state *state) {
  neapL__class_with_fields(L, &state->token_meta, "neap.Token", token_metamethods, token_methods,
                           token_index);
  neapL__class_with_fields(L, &state->canceller_meta, "neap.Canceller", canceller_metamethods,
                           canceller_methods, canceller_index);
  neapL__class(L, &state->registration_meta, "neap.Registration", registration_metamethods,
               registration_methods);
  lua_pop(L, 3);
}

const luaL_Reg neapL__token_functions[] = {
    {"canceller", canceller}, {"link", link_tokens}, {NULL, NULL}};
