/* A request to a database: SQL and what became of it, as one piece of work. */
#ifndef NEAP_DRIVERS_SQLITE_REQUEST_H
#define NEAP_DRIVERS_SQLITE_REQUEST_H

#include "../ops/work.h"
#include "sqlite.h"

typedef enum neap__sqlite_mode {
  NEAP__SQLITE_OPEN,    /* -> db is open */
  NEAP__SQLITE_EXEC,    /* any number of statements -> changes, last_rowid */
  NEAP__SQLITE_MANY,    /* one statement for each set of parameters, all or nothing -> the same */
  NEAP__SQLITE_QUERY,   /* one statement -> rows */
  NEAP__SQLITE_BEGIN,   /* turn.opens; sql: as BEGIN has it, where it is the outermost one */
  NEAP__SQLITE_COMMIT,  /* turn.tx */
  NEAP__SQLITE_ROLLBACK /* turn.tx */
} neap__sqlite_mode;

/* The maker sets what is above the line. Memory of the parameters is the loop's, of the results malloc's. */
typedef struct neap__sqlite_request {
  neap__work work;
  neap__sqlite_turn turn; /* tx and opens, referenced */
  neap__sqlite *db;       /* referenced */
  neap__sqlite_mode mode;
  char *sql;
  size_t size;
  neap__sqlite_buffer params; /* for MANY each set begins with a PLACE of 0 */
  int64_t most;               /* rows; 0: all */
  bool may_read;              /* it goes to a reader, if there is one */
  bool is_array;              /* for the bindings: how rows are pushed */
  /* -------- */
  bool is_reading; /* it is at the readers, or was taken off there */
  atomic_bool has_run;
  _Atomic(neap__sqlite_conn *) conn; /* on which it runs */
  neap__sqlite_failure failure;
  neap__sqlite_buffer rows; /* the names of the columns, then the rows */
  int columns;
  int64_t count; /* of rows */
  int64_t changes, last_rowid;
} neap__sqlite_request;

extern const neap__op_kind neap__sqlite_request_kind;

/* Before neap__op_start, once db and mode are set. UV_ENOMEM. */
int neap__sqlite_request_prepare(neap__sqlite_request *self);

#endif
