/* The module neap.sqlite_driver: databases, transactions, rows. lua/neap/sqlite.lua is its face. */
#ifndef NEAPLUA_DRIVERS_SQLITE_H
#define NEAPLUA_DRIVERS_SQLITE_H

#include "../../core/drivers/sqlite_cursor.h"
#include "../../core/drivers/sqlite_error.h"
#include "../../core/drivers/sqlite_request.h"
#include "../error.h"
#include "../object.h"

/* For each Lua state. */
typedef struct neapL__sqlite {
  neapL__meta database_meta, transaction_meta, rows_meta, blob_meta;
  int variable_ref; /* the task-local variable whose value is the innermost Transaction */
  int names_ref;    /* cursor -> the names of its columns */
} neapL__sqlite;

/* In a Transaction; user value 1: the one around it, of whatever database. */
typedef struct neapL__sqlite_transaction {
  neapL__object object;    /* core: its database, referenced */
  neap__sqlite_tx *tx;     /* referenced */
  neap__sqlite_tx *parent; /* referenced; NULL: it is the outermost one */
} neapL__sqlite_transaction;

/* [-0, +0, -] */
neapL__sqlite *neapL__sqlite_of(lua_State *L);

/* The Database or Transaction at 1: its database, and in *tx the transaction that what is asked for here
 * belongs to. Raises for another value, and for a Transaction that has ended. [-0, +0, m] */
neap__sqlite *neapL__sqlite_check(lua_State *L, neap__sqlite_tx **tx);

/* The SQL text at `index`, copied into the loop's memory. */
char *neapL__sqlite_copy_sql(lua_State *L, neap_loop *loop, int index, size_t *size);

/* Adds what SQLite said to the error on top. False: nothing. */
bool neapL__sqlite_add_failure(lua_State *L, const neap__sqlite_failure *failure, const char *sql,
                               size_t size);

/* db:rows(sql, ...) -> an iterator, for the generic `for` */
int neapL__sqlite_rows(lua_State *L);
void neapL__sqlite_open_rows(lua_State *L, neapL__sqlite *driver);

/* Rows of the Database and the Transaction. */
extern const neapL__row neapL__sqlite_rows_of_requests[];
/* Functions of the module on transactions: begin, commit, roll_back; and of the module itself: open. */
extern const neapL__row neapL__sqlite_functions[];

#endif
