#include "sqlite.h"

#include "../driver.h"
#include "../locals.h"
#include "sqlite_values.h"

static const char registry_key = 's';

neapL__sqlite *neapL__sqlite_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
  neapL__sqlite *driver = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return driver;
}

/* ---- Whose transaction -------------------------------------------------------------------------- */

/* The innermost open transaction on `db` in which the current task runs, or was started; NULL if there is
 * none. */
static neap__sqlite_tx *find_transaction(lua_State *L, const neapL__sqlite *driver,
                                         const neap__sqlite *db) {
  neap__sqlite_tx *found = NULL;
  int top = lua_gettop(L);
  neapL__push_locals(L, neapL__state_here(L));
  if (lua_istable(L, -1)) {
    neapL__push_ref(L, driver->variable_ref);
    lua_rawget(L, -2);
  }
  while (!found && lua_isuserdata(L, -1)) {
    const neapL__sqlite_transaction *transaction = lua_touserdata(L, -1);
    if (transaction->object.core == db && transaction->tx && transaction->tx->is_open)
      found = transaction->tx;
    lua_getiuservalue(L, -1, 1);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
  }
  lua_settop(L, top);
  return found;
}

static bool is_within(const neap__sqlite_tx *tx, const neap__sqlite_tx *outer) {
  while (tx && tx != outer) tx = tx->below;
  return tx;
}

static neapL__sqlite_transaction *to_transaction(lua_State *L, const neapL__sqlite *driver) {
  bool is_it = lua_isuserdata(L, 1) && neapL__has_meta(L, 1, &driver->transaction_meta);
  return is_it ? lua_touserdata(L, 1) : NULL;
}

neap__sqlite *neapL__sqlite_check(lua_State *L, neap__sqlite_tx **tx) {
  const neapL__sqlite *driver = neapL__sqlite_of(L);
  const neapL__sqlite_transaction *transaction = to_transaction(L, driver);
  if (!transaction) {
    neap__sqlite *db = neapL__check_core(L, 1, &driver->database_meta, "neap.Database");
    *tx = find_transaction(L, driver, db);
    return db;
  }
  if (!transaction->tx || !transaction->tx->is_open)
    neapL__misuse(L, "the transaction has ended: use it in the function that was given it");
  *tx = find_transaction(L, driver, transaction->object.core);
  if (!is_within(*tx, transaction->tx)) *tx = transaction->tx;
  return transaction->object.core;
}

/* ---- Transaction -------------------------------------------------------------------------------- */

/* Pushes what the current task has as its innermost Transaction, or nil. */
static void push_around(lua_State *L, const neapL__sqlite *driver) {
  neapL__push_locals(L, neapL__state_here(L));
  if (!lua_istable(L, -1)) return;
  neapL__push_ref(L, driver->variable_ref);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* driver.new_transaction(database or transaction) -> Transaction, which has not begun */
static int new_transaction(lua_State *L) {
  const neapL__sqlite *driver = neapL__sqlite_of(L);
  neap__sqlite_tx *parent;
  neap__sqlite *db = neapL__sqlite_check(L, &parent);
  neapL__sqlite_transaction *self = lua_newuserdatauv(L, sizeof *self, 1);
  *self = (neapL__sqlite_transaction){.object.core = neap__sqlite_ref(db),
                                      .parent = neap__sqlite_tx_ref(parent)};
  neapL__set_meta(L, -1, &driver->transaction_meta);
  self->tx = neap__sqlite_tx_new(&db->loop->memory);
  if (!self->tx) return neapL__raise_memory(L);
  push_around(L, driver);
  if (!lua_isuserdata(L, -1)) {
    lua_pop(L, 1);
    lua_pushnil(L);
  }
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static neapL__sqlite_transaction *check_transaction(lua_State *L) {
  return neapL__check_object(L, 1, &neapL__sqlite_of(L)->transaction_meta, "neap.Transaction");
}

/* driver.leave(transaction): it is over, whatever has become of it */
static int leave(lua_State *L) {
  const neapL__sqlite_transaction *self = check_transaction(L);
  if (self->tx) neap__sqlite_end_transaction(self->object.core, self->tx);
  return 0;
}

static int collect_transaction(lua_State *L) {
  neapL__sqlite_transaction *self = lua_touserdata(L, 1);
  neap__sqlite *db = self->object.core;
  self->object.core = NULL;
  if (self->tx) neap__sqlite_end_transaction(db, self->tx);
  neap__sqlite_tx_unref(self->tx);
  neap__sqlite_tx_unref(self->parent);
  self->tx = self->parent = NULL;
  if (db) neap__sqlite_unref(db);
  return 0;
}

static int transaction_to_string(lua_State *L) {
  const neapL__sqlite_transaction *self = check_transaction(L);
  bool is_open = self->tx && self->tx->is_open;
  lua_pushfstring(L, "neap.Transaction%s", is_open ? "" : ": ended");
  return 1;
}

/* ---- Database ----------------------------------------------------------------------------------- */

static neap__sqlite *check_database(lua_State *L) {
  return neapL__check_core(L, 1, &neapL__sqlite_of(L)->database_meta, "neap.Database");
}

static void read_close(lua_State *L, neap__op *op) {
  ((neap__sqlite_close *)op)->db = neap__sqlite_ref(check_database(L));
}

static const neapL__row close_row = {"close", &neap__sqlite_close_kind, read_close, NULL, NULL};

/* db:close() -> Task: it closes also where the wait is refused, in a cancelled scope. */
static int close_database(lua_State *L) {
  neap__sqlite *db = check_database(L);
  lua_settop(L, 1);
  neapL__start_operation(L, neapL__state_here(L), &close_row);
  neap__sqlite_close_soon(db);
  return 1;
}

static int close_and_wait(lua_State *L) {
  return neapL__close_and_wait(L, close_database);
}

static int collect(lua_State *L) {
  neapL__object *self = lua_touserdata(L, 1);
  neap__sqlite *db = self->core;
  self->core = NULL;
  if (db) neap__sqlite_unref(db);
  return 0;
}

/* db:path() -> as it was opened */
static int get_path(lua_State *L) {
  lua_pushstring(L, check_database(L)->options.path);
  return 1;
}

static int to_string(lua_State *L) {
  const neap__sqlite *db = check_database(L);
  lua_pushfstring(L, "neap.Database '%s'%s", db->options.path, db->is_closing ? ": closed" : "");
  return 1;
}

/* ---- Values that are marked --------------------------------------------------------------------- */

/* driver.blob(string) -> a value that is stored as a BLOB */
static int new_blob(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  lua_newuserdatauv(L, 0, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  neapL__set_meta(L, -1, &neapL__sqlite_of(L)->blob_meta);
  return 1;
}

/* ---- The module --------------------------------------------------------------------------------- */

static const luaL_Reg database_metamethods[] = {
    {"__gc", collect}, {"__close", close_and_wait}, {"__tostring", to_string}, {NULL, NULL}};
static const luaL_Reg database_methods[] = {
    {"close", close_database}, {"path", get_path}, {"rows", neapL__sqlite_rows}, {NULL, NULL}};
static const luaL_Reg transaction_metamethods[] = {
    {"__gc", collect_transaction}, {"__tostring", transaction_to_string}, {NULL, NULL}};
static const luaL_Reg transaction_methods[] = {{"rows", neapL__sqlite_rows}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"blob", new_blob}, {"new_transaction", new_transaction}, {"leave", leave}, {NULL, NULL}};

/* The methods of a class are in a table behind __index, as of all classes. */
static void open_classes(lua_State *L, neapL__sqlite *driver) {
  neapL__object_class(L, &driver->database_meta, "neap.Database", database_metamethods,
                      database_methods, neapL__sqlite_rows_of_requests);
  neapL__object_class(L, &driver->transaction_meta, "neap.Transaction", transaction_metamethods,
                      transaction_methods, neapL__sqlite_rows_of_requests);
  neapL__class(L, &driver->blob_meta, neapL__sqlite_blob_name, NULL, NULL);
  lua_pop(L, 1);
  neapL__sqlite_open_rows(L, driver);
}

/* driver.set_variable(localvar): where the innermost Transaction of a task is kept */
static int set_variable(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  neapL__sqlite_of(L)->variable_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static void set_methods(lua_State *L, const char *field, const neapL__meta *meta) {
  neapL__push_ref(L, meta->ref);
  lua_getfield(L, -1, "__index");
  lua_setfield(L, -3, field);
  lua_pop(L, 1);
}

static neapL__sqlite *open_driver(lua_State *L) {
  neapL__sqlite *driver = neapL__sqlite_of(L);
  if (driver) return driver;
  driver = lua_newuserdatauv(L, sizeof *driver, 0);
  *driver = (neapL__sqlite){.variable_ref = LUA_NOREF};
  lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
  open_classes(L, driver);
  return driver;
}

NEAP_API int luaopen_neap_sqlite_driver(lua_State *L);

int luaopen_neap_sqlite_driver(lua_State *L) {
  neapL__check_driver(L, "sqlite");
  const neapL__sqlite *driver = open_driver(L);
  lua_newtable(L);
  neapL__register(L, functions);
  lua_pushcfunction(L, set_variable);
  lua_setfield(L, -2, "set_variable");
  neapL__register_rows(L, neapL__sqlite_functions);
  set_methods(L, "database_methods", &driver->database_meta);
  set_methods(L, "transaction_methods", &driver->transaction_meta);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_pushstring(L, sqlite3_libversion());
  lua_setfield(L, -2, "library_version");
  return 1;
}
