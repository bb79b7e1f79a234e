/* A database: the connection that writes, with its thread, and those for reading, if there are any, with
 * theirs.
 *
 * The loop's thread queues requests (sqlite_request.h) and pulls of rows (sqlite_cursor.h). What goes to
 * the one that writes passes the gate first and then runs first in, first out; what goes to the readers
 * takes whichever is free. */
#ifndef NEAP_DRIVERS_SQLITE_H
#define NEAP_DRIVERS_SQLITE_H

#include "../loop.h"
#include "../op.h"
#include "../pool.h"
#include "sqlite_conn.h"
#include "sqlite_gate.h"

/* Refs: each holder's, each request's and cursor's, and one while it closes; the last one closes it.
 *
 * Invariant, with the mutex held: `reading` is the number of what is queued for the readers or runs there;
 * a connection in `readers` that is not free belongs to one of them, or to a cursor. */
typedef struct neap__sqlite {
  neap__resource resource;
  neap_loop *loop;
  neap__sqlite_options options;
  uint32_t refs;
  neap__sqlite_gate gate;
  neap__list cursors;         /* those that are open */
  neap__list pulls;           /* ... or closed, and something of them is on its thread */
  neap__list closers;         /* closes that wait */
  neap_pool *pool;            /* one thread */
  neap_pool *reading_pool;    /* NULL: no readers */
  neap__sqlite_conn conn;     /* the one that writes; touched by its thread */
  atomic_bool is_open;        /* set by it */
  atomic_bool needs_rollback; /* a transaction was left without its end */
  uv_mutex_t mutex;           /* before a connection's */
  uv_cond_t changed;
  neap__list readers;
  size_t reading;
  bool has_closed;        /* the thread has done it */
  neap__pool_item closer; /* closes the connections */
  neap__post closed;
  bool is_closing, is_closed;
} neap__sqlite;

/* Makes one that is not open yet: the first request opens it. Takes over the path in `options`, in the
 * loop's memory, in any case. Owner: the caller has one reference. */
int neap__sqlite_new(neap_loop *loop, const neap__sqlite_options *options, neap__sqlite **result);

static inline neap__sqlite *neap__sqlite_ref(neap__sqlite *db) {
  db->refs++;
  return db;
}
void neap__sqlite_unref(neap__sqlite *db);

/* Closes without a wait: what was queued before runs, what waits for a transaction fails. Idempotent. */
void neap__sqlite_close_soon(neap__sqlite *db);

typedef struct neap__sqlite_close {
  neap__op op;
  neap__sqlite *db; /* referenced */
  neap__op_link link;
} neap__sqlite_close;

extern const neap__op_kind neap__sqlite_close_kind; /* db */

/* The transaction is over, whatever has become of it; what it holds open is closed. */
void neap__sqlite_end_transaction(neap__sqlite *db, neap__sqlite_tx *tx);

/* ---- For what is queued ----------------------------------------------------------------------- */

/* Something native is on its way, and ends by itself. */
void neap__sqlite_begin_native(neap_loop *loop);
void neap__sqlite_end_native(neap_loop *loop);

/* Something goes to the readers, or has ended there. Thread: any. */
void neap__sqlite_add_reading(neap__sqlite *db);
void neap__sqlite_remove_reading(neap__sqlite *db);

/* A connection for reading, opened if none is free; NULL: why is in *failure; it gives up when *stop becomes
 * true. Thread: of reading_pool. */
neap__sqlite_conn *neap__sqlite_take_reader(neap__sqlite *db, const atomic_bool *stop,
                                            neap__sqlite_failure *failure);
/* Thread: any, that has taken it. */
void neap__sqlite_give_reader(neap__sqlite *db, neap__sqlite_conn *conn);

/* Rolls back what a lost transaction has left. Thread: the one that writes. */
void neap__sqlite_clean_up(neap__sqlite *db);

#endif
