/* One connection to SQLite, and its statements. Thread: the one that uses it, one at a time, unless a
 * declaration says otherwise. Memory is malloc's. */
#ifndef NEAP_DRIVERS_SQLITE_CONN_H
#define NEAP_DRIVERS_SQLITE_CONN_H

#include "../list.h"
#include "sqlite_values.h"

#include <sqlite3.h>
#include <stdatomic.h>

/* How a database is opened. Owner of the path: the database. */
typedef struct neap__sqlite_options {
  char *path;
  double busy_timeout; /* seconds of real time */
  int synchronous;     /* 0: off, 1: normal, 2: full, 3: extra; as the pragma has it */
  int readers;         /* threads for queries, 0: they go to the one that writes */
  bool is_readonly;
  bool creates;
  bool uses_wal;
  bool foreign_keys;
} neap__sqlite_options;

/* What went wrong. `code` 0: nothing. */
typedef struct neap__sqlite_failure {
  int code;      /* negative, of neap */
  int extended;  /* SQLite's; 0: it was not SQLite that refused */
  int errnum;    /* the system's, 0: none */
  int offset;    /* of the token in the SQL text, in bytes from 0 on; -1: unknown */
  char *message; /* malloc's; NULL: out of memory, or the code's own */
} neap__sqlite_failure;

void neap__sqlite_failure_deinit(neap__sqlite_failure *failure);

/* A statement. In the cache of its connection while nobody uses it. */
typedef struct neap__sqlite_statement {
  neap__list link;
  sqlite3_stmt *stmt;
  uint32_t hash;
  size_t size;
  char sql[];
} neap__sqlite_statement;

typedef struct neap__sqlite_conn {
  neap__list link; /* among the readers of its database */
  bool is_free;    /* for the database */
  sqlite3 *handle;
  const neap__sqlite_options *options;
  neap__list statements; /* the last used first */
  size_t cached;
  neap__list holding; /* statements that are kept between two batches of their rows */
  atomic_int held;    /* how many */
  uint64_t busy_until;
  uv_mutex_t mutex; /* guards `stop` against those who interrupt */
  uv_cond_t woken;
  const atomic_bool *stop; /* of what runs now; NULL: nothing does */
} neap__sqlite_conn;

/* `for_reading`: it refuses to write. It gives up when *stop becomes true. 0, or the code in *failure. */
int neap__sqlite_conn_open(neap__sqlite_conn *conn, const neap__sqlite_options *options,
                           bool for_reading, const atomic_bool *stop,
                           neap__sqlite_failure *failure);
/* With all its statements, those that are held included. A transaction that is open is rolled back. */
void neap__sqlite_conn_close(neap__sqlite_conn *conn);

/* What runs from now on gives up when *stop becomes true. NULL: nothing runs. */
void neap__sqlite_conn_run(neap__sqlite_conn *conn, const atomic_bool *stop);
/* *stop has become true: if it is what runs on the connection, it hears of it. Thread: any. */
void neap__sqlite_conn_interrupt(neap__sqlite_conn *conn, const atomic_bool *stop);

/* Takes the first statement of a text from the cache, or prepares it. *used: the bytes of it, with what
 * follows that says nothing; *result NULL: there was none. A text of one statement is kept for the next
 * time when it is given back. 0, or the code in *failure. */
int neap__sqlite_prepare(neap__sqlite_conn *conn, const char *sql, size_t size, size_t *used,
                         neap__sqlite_statement **result, neap__sqlite_failure *failure);
/* Also one that is held. */
void neap__sqlite_give_back(neap__sqlite_conn *conn, neap__sqlite_statement *statement);

/* It is kept where it stands, until it is given back, or the connection is closed. */
void neap__sqlite_hold(neap__sqlite_conn *conn, neap__sqlite_statement *statement);

/* A query, which changes nothing: not the file, nor the state of the connection. */
bool neap__sqlite_only_reads(const neap__sqlite_statement *statement);

/* Binds the values from `at` up to `end`, or to a NEAP__SQLITE_PLACE of 0, which ends a set. They stay
 * where they are until the statement was given back. Each parameter needs a value. 0, or the code in
 * *failure; *next: the end of the set. */
int neap__sqlite_bind(neap__sqlite_conn *conn, neap__sqlite_statement *statement, const char *at,
                      const char *end, const char **next, neap__sqlite_failure *failure);

/* Runs on to the next row (SQLITE_ROW) or the end (SQLITE_DONE); another result is in *failure. */
int neap__sqlite_step(neap__sqlite_conn *conn, neap__sqlite_statement *statement,
                      neap__sqlite_failure *failure);

/* Adds the names of its columns, or the row where it stands. False: out of memory. */
bool neap__sqlite_put_names(const neap__sqlite_statement *statement, neap__sqlite_buffer *buffer);
bool neap__sqlite_put_row(const neap__sqlite_statement *statement, neap__sqlite_buffer *buffer);

/* Runs a text without parameters or rows. */
int neap__sqlite_script(neap__sqlite_conn *conn, const char *sql, neap__sqlite_failure *failure);

/* Whether a transaction is open. */
static inline bool neap__sqlite_is_in_transaction(const neap__sqlite_conn *conn) {
  return !sqlite3_get_autocommit(conn->handle);
}

/* Notes an error that is not SQLite's; gives the code again. */
int neap__sqlite_refuse(neap__sqlite_failure *failure, int code, const char *format, ...);

#endif
