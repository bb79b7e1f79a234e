#include "sqlite.h"

#include "../options.h"
#include "sqlite_values.h"

#include <limits.h>
#include <string.h>

enum { MAX_READERS = 64, MAX_SQL = INT_MAX - 1 };

static neap__sqlite_request *request_at(lua_State *L, int index) {
  return (neap__sqlite_request *)neapL__op_at(L, index);
}

/* ---- Arguments --------------------------------------------------------------------------------- */

char *neapL__sqlite_copy_sql(lua_State *L, neap_loop *loop, int index, size_t *size) {
  const char *sql = luaL_checklstring(L, index, size);
  luaL_argcheck(L, strlen(sql) == *size, index, "the SQL contains a NUL byte");
  luaL_argcheck(L, *size <= MAX_SQL, index, "the SQL is too long");
  return neapL__copy(L, loop, sql, *size);
}

static neap__sqlite_request *use_database(lua_State *L, neap__op *op, neap__sqlite_mode mode) {
  neap__sqlite_request *self = (neap__sqlite_request *)op;
  neap__sqlite_tx *tx;
  self->db = neap__sqlite_ref(neapL__sqlite_check(L, &tx));
  self->turn.tx = neap__sqlite_tx_ref(tx);
  self->mode = mode;
  self->params.memory = &op->task.loop->memory;
  return self;
}

static void prepare(lua_State *L, neap__sqlite_request *self) {
  if (neap__sqlite_request_prepare(self)) neapL__raise_memory(L);
}

static neap__sqlite_request *read_statement(lua_State *L, neap__op *op, neap__sqlite_mode mode) {
  int last = neapL__state_here(L)->arguments;
  neap__sqlite_request *self = use_database(L, op, mode);
  self->sql = neapL__sqlite_copy_sql(L, op->task.loop, 2, &self->size);
  neapL__sqlite_read_params(L, &neapL__sqlite_of(L)->blob_meta, &self->params, 3, last);
  return self;
}

/* db:exec(sql, ...) -> Task<changes, last_insert_rowid> */
static void read_exec(lua_State *L, neap__op *op) {
  prepare(L, read_statement(L, op, NEAP__SQLITE_EXEC));
}

/* db:exec_many(sql, sets) -> Task<changes, last_insert_rowid> */
static void read_exec_many(lua_State *L, neap__op *op) {
  neap__sqlite_request *self = use_database(L, op, NEAP__SQLITE_MANY);
  self->sql = neapL__sqlite_copy_sql(L, op->task.loop, 2, &self->size);
  neapL__sqlite_read_sets(L, &neapL__sqlite_of(L)->blob_meta, &self->params, 3);
  prepare(L, self);
}

static neap__sqlite_request *read_any_query(lua_State *L, neap__op *op) {
  neap__sqlite_request *self = read_statement(L, op, NEAP__SQLITE_QUERY);
  self->may_read = true;
  return self;
}

/* db:query(sql, ...) -> Task<rows> */
static void read_query(lua_State *L, neap__op *op) {
  prepare(L, read_any_query(L, op));
}

/* db:arrays(sql, ...) -> Task<rows> */
static void read_arrays(lua_State *L, neap__op *op) {
  neap__sqlite_request *self = read_any_query(L, op);
  self->is_array = true;
  prepare(L, self);
}

/* db:first(sql, ...) -> Task<row | nil>; db:value(sql, ...) -> Task<value> */
static void read_first(lua_State *L, neap__op *op) {
  neap__sqlite_request *self = read_any_query(L, op);
  self->most = 1;
  prepare(L, self);
}

/* ---- Results ----------------------------------------------------------------------------------- */

static int push_changes(lua_State *L, neapL__state *state, int index) {
  const neap__sqlite_request *self = request_at(L, index);
  (void)state;
  lua_pushinteger(L, self->changes);
  lua_pushinteger(L, self->last_rowid);
  return 2;
}

static void push_columns(lua_State *L, int names, int count) {
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushvalue(L, names + i);
    lua_rawseti(L, -2, i + 1);
  }
}

/* What is too much for an int is too much for memory. */
static int size_hint(int64_t count) {
  return count < INT_MAX ? (int)count : 0;
}

static int push_rows(lua_State *L, neapL__state *state, int index) {
  const neap__sqlite_request *self = request_at(L, index);
  const char *at = self->rows.data;
  int names = lua_gettop(L) + 1;
  (void)state;
  neapL__sqlite_push_names(L, &at, self->columns);
  lua_createtable(L, size_hint(self->count), 1);
  for (int64_t i = 1; i <= self->count; i++) {
    neapL__sqlite_push_row(L, &at, names, self->columns, self->is_array);
    lua_rawseti(L, -2, i);
  }
  push_columns(L, names, self->columns);
  lua_setfield(L, -2, "columns");
  return 1;
}

static int push_first(lua_State *L, neapL__state *state, int index) {
  const neap__sqlite_request *self = request_at(L, index);
  const char *at = self->rows.data;
  int names = lua_gettop(L) + 1;
  (void)state;
  neapL__sqlite_push_names(L, &at, self->columns);
  if (self->count == 0)
    lua_pushnil(L);
  else
    neapL__sqlite_push_row(L, &at, names, self->columns, false);
  return 1;
}

static int push_value(lua_State *L, neapL__state *state, int index) {
  const neap__sqlite_request *self = request_at(L, index);
  const char *at = self->rows.data;
  neap__sqlite_value name;
  (void)state;
  for (int i = 0; i < self->columns; i++) at = neap__sqlite_get(at, &name);
  if (self->count == 0 || self->columns == 0)
    lua_pushnil(L);
  else
    neapL__sqlite_push_value(L, &at);
  return 1;
}

/* ---- Errors ------------------------------------------------------------------------------------ */

bool neapL__sqlite_add_failure(lua_State *L, const neap__sqlite_failure *failure, const char *sql,
                               size_t size) {
  if (!failure->code) return false;
  lua_pushstring(L, neap__sqlite_error_name(failure));
  lua_setfield(L, -2, "code");
  if (sql) {
    lua_pushlstring(L, sql, size);
    lua_setfield(L, -2, "sql");
  }
  if (failure->offset >= 0) {
    lua_pushinteger(L, failure->offset + 1);
    lua_setfield(L, -2, "offset");
  }
  if (!failure->extended) return true;
  lua_pushinteger(L, failure->extended);
  lua_setfield(L, -2, "sqlite_code");
  lua_pushstring(L, neap__sqlite_code_name(failure->extended));
  lua_setfield(L, -2, "sqlite_name");
  return true;
}

static bool add_failure(lua_State *L, neap__op *op) {
  const neap__sqlite_request *self = (const neap__sqlite_request *)op;
  if (op->task.status != NEAP_FAILED) return false; /* cancelled */
  return neapL__sqlite_add_failure(L, &self->failure, self->sql, self->size);
}

const neapL__row neapL__sqlite_rows_of_requests[] = {
    {"exec", &neap__sqlite_request_kind, read_exec, push_changes, add_failure},
    {"exec_many", &neap__sqlite_request_kind, read_exec_many, push_changes, add_failure},
    {"query", &neap__sqlite_request_kind, read_query, push_rows, add_failure},
    {"arrays", &neap__sqlite_request_kind, read_arrays, push_rows, add_failure},
    {"first", &neap__sqlite_request_kind, read_first, push_first, add_failure},
    {"value", &neap__sqlite_request_kind, read_first, push_value, add_failure},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- Transactions ------------------------------------------------------------------------------ */

static neapL__sqlite_transaction *check_transaction(lua_State *L) {
  return neapL__check_object(L, 1, &neapL__sqlite_of(L)->transaction_meta, "neap.Transaction");
}

static neap__sqlite_request *use_transaction(lua_State *L, neap__op *op, neap__sqlite_mode mode) {
  neap__sqlite_request *self = (neap__sqlite_request *)op;
  self->db = neap__sqlite_ref(check_transaction(L)->object.core);
  self->mode = mode;
  self->params.memory = &op->task.loop->memory;
  return self;
}

/* driver.begin(transaction, sql) -> Task */
static void read_begin(lua_State *L, neap__op *op) {
  const neapL__sqlite_transaction *transaction = check_transaction(L);
  neap__sqlite_request *self = use_transaction(L, op, NEAP__SQLITE_BEGIN);
  self->sql = neapL__sqlite_copy_sql(L, op->task.loop, 2, &self->size);
  self->turn.tx = neap__sqlite_tx_ref(transaction->parent);
  self->turn.opens = neap__sqlite_tx_ref(transaction->tx);
  prepare(L, self);
}

static void read_end(lua_State *L, neap__op *op, neap__sqlite_mode mode) {
  neap__sqlite_request *self = use_transaction(L, op, mode);
  self->turn.tx = neap__sqlite_tx_ref(check_transaction(L)->tx);
  prepare(L, self);
}

/* driver.commit(transaction) -> Task */
static void read_commit(lua_State *L, neap__op *op) {
  read_end(L, op, NEAP__SQLITE_COMMIT);
}

/* driver.roll_back(transaction) -> Task */
static void read_roll_back(lua_State *L, neap__op *op) {
  read_end(L, op, NEAP__SQLITE_ROLLBACK);
}

/* ---- Opening ----------------------------------------------------------------------------------- */

static bool is_on_disk(const char *path) {
  return *path && strcmp(path, ":memory:") != 0;
}

static neap__sqlite_options read_options(lua_State *L, int index) {
  static const char *const levels[] = {"off", "normal", "full", "extra", NULL};
  neapL__has_options(L, index);
  neap__sqlite_options options = {
      .busy_timeout = neapL__option_seconds(L, index, "busy_timeout", 5),
      .readers = (int)neapL__option_integer(L, index, "readers", 0, MAX_READERS, 0),
      .is_readonly = neapL__option_boolean(L, index, "readonly", false),
      .creates = neapL__option_boolean(L, index, "create", true),
      .uses_wal = neapL__option_boolean(L, index, "wal", true),
      .foreign_keys = neapL__option_boolean(L, index, "foreign_keys", true)};
  options.synchronous =
      neapL__option_choice(L, index, "synchronous", levels, options.uses_wal ? 1 : 2);
  return options;
}

/* driver.open(path, opts?) -> Task<Database> */
static void read_open(lua_State *L, neap__op *op) {
  neap__sqlite_request *self = (neap__sqlite_request *)op;
  neap__sqlite_options options = read_options(L, 2);
  if (options.readers > 0 && !is_on_disk(luaL_checkstring(L, 1)))
    luaL_argerror(L, 2, "option 'readers': a database without a file has one connection");
  options.path = neapL__copy_path(L, op->task.loop, 1);
  if (neap__sqlite_new(op->task.loop, &options, &self->db)) neapL__raise_memory(L);
  self->mode = NEAP__SQLITE_OPEN;
  prepare(L, self);
}

static int push_open(lua_State *L, neapL__state *state, int index) {
  neapL__object *self = neapL__push_object(L, &neapL__sqlite_of(L)->database_meta);
  (void)state;
  self->core = neap__sqlite_ref(request_at(L, index)->db);
  return 1;
}

const neapL__row neapL__sqlite_functions[] = {
    {"open", &neap__sqlite_request_kind, read_open, push_open, add_failure},
    {"begin", &neap__sqlite_request_kind, read_begin, NULL, add_failure},
    {"commit", &neap__sqlite_request_kind, read_commit, NULL, add_failure},
    {"roll_back", &neap__sqlite_request_kind, read_roll_back, NULL, add_failure},
    {NULL, NULL, NULL, NULL, NULL},
};
