#include "sqlite.h"

#include "../await.h"
#include "sqlite_values.h"

static const char class_name[] = "neap.Rows";

static neap__sqlite_cursor *check_cursor(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__sqlite_of(L)->rows_meta, class_name);
}

/* ---- Making ------------------------------------------------------------------------------------- */

int neapL__sqlite_rows(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  const neapL__sqlite *driver = neapL__sqlite_of(L);
  neap__sqlite_tx *tx;
  int last = lua_gettop(L);
  neapL__check_open(L, state);
  neap__sqlite *db = neapL__sqlite_check(L, &tx);
  neapL__object *self = neapL__push_object(L, &driver->rows_meta);
  neap__sqlite_cursor *cursor = neap__sqlite_cursor_new(db, tx);
  if (!cursor) return neapL__raise_memory(L);
  self->core = cursor;
  cursor->sql = neapL__sqlite_copy_sql(L, state->loop, 2, &cursor->size);
  neapL__sqlite_read_params(L, &driver->blob_meta, &cursor->params, 3, last);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, -3);
  return 4;
}

/* ---- Rows --------------------------------------------------------------------------------------- */

/* Pushes the table of the names of the columns, which is kept until the iterator is collected; from then on
 * there are no rows. */
static void push_names(lua_State *L, const neap__sqlite_cursor *cursor) {
  const char *at = cursor->names.data;
  neapL__push_ref(L, neapL__sqlite_of(L)->names_ref);
  if (lua_rawgetp(L, -1, cursor) == LUA_TNIL) {
    lua_createtable(L, cursor->columns, 0);
    for (int i = 1; i <= cursor->columns; i++) {
      neapL__sqlite_push_value(L, &at);
      lua_rawseti(L, -2, i);
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -4, cursor);
    lua_replace(L, -2);
  }
  lua_replace(L, -2);
}

static void forget_names(lua_State *L, const neap__sqlite_cursor *cursor) {
  neapL__push_ref(L, neapL__sqlite_of(L)->names_ref);
  lua_pushnil(L);
  lua_rawsetp(L, -2, cursor); /* an absent field is not made */
  lua_pop(L, 1);
}

static int push_row(lua_State *L, neap__sqlite_cursor *cursor) {
  push_names(L, cursor);
  int names = lua_gettop(L);
  lua_createtable(L, 0, cursor->columns);
  for (int i = 1; i <= cursor->columns; i++) {
    lua_rawgeti(L, names, i);
    neapL__sqlite_push_value(L, &cursor->at);
    lua_rawset(L, -3);
  }
  cursor->left--;
  return 1;
}

static void read_next(lua_State *L, neap__op *op) {
  neap__sqlite_next *self = (neap__sqlite_next *)op;
  neap__sqlite_cursor *cursor = check_cursor(L);
  neapL__check_turn(L, cursor->waiting, "read");
  self->cursor = cursor;
  cursor->refs++;
}

/* Nothing at the end, nor when it was closed meanwhile. */
static int push_next(lua_State *L, neapL__state *state, int index) {
  neap__sqlite_cursor *cursor = ((neap__sqlite_next *)neapL__op_at(L, index))->cursor;
  (void)state;
  return cursor->left > 0 ? push_row(L, cursor) : 0;
}

static bool add_failure(lua_State *L, neap__op *op) {
  const neap__sqlite_cursor *cursor = ((const neap__sqlite_next *)op)->cursor;
  if (op->task.status != NEAP_FAILED || cursor->closed_code) return false;
  return neapL__sqlite_add_failure(L, &cursor->failure, cursor->sql, cursor->size);
}

static const neapL__row next_row = {"rows", &neap__sqlite_next_kind, read_next, push_next,
                                    add_failure};

/* for row in rows do: a row that is there needs no Task. */
static int call_rows(lua_State *L) {
  neapL__state *state = neapL__state_here(L);
  neap__sqlite_cursor *cursor = check_cursor(L);
  const neapL__task *task = neapL__check_awaiting(L, state);
  lua_settop(L, 1);
  bool is_there = cursor->left > 0 && !neap__routine_is_cancelled(&task->routine);
  if (is_there && neapL__may_go_on(state, task)) return push_row(L, cursor);
  return neapL__call_and_await(L, state, &next_row);
}

/* ---- Closing ------------------------------------------------------------------------------------ */

/* rows:close(): also where the loop is left */
static int close_rows(lua_State *L) {
  neap__sqlite_cursor_close(check_cursor(L));
  return 0;
}

static int collect(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__sqlite_cursor *cursor = self->core;
  self->core = NULL;
  if (!cursor) return 0;
  forget_names(L, cursor);
  neap__sqlite_cursor_unref(cursor);
  return 0;
}

static const luaL_Reg metamethods[] = {
    {"__call", call_rows}, {"__close", close_rows}, {"__gc", collect}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"close", close_rows}, {NULL, NULL}};

void neapL__sqlite_open_rows(lua_State *L, neapL__sqlite *driver) {
  neapL__class(L, &driver->rows_meta, class_name, metamethods, methods);
  lua_newtable(L);
  driver->names_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pop(L, 1);
}
