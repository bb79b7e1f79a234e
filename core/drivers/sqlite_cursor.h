/* Rows of a query in batches, the next of which is fetched while the last one is used.
 *
 * A pull fetches a batch on the thread and belongs to the cursor, not to who waits: so cancelling a wait
 * loses nothing. Between two pulls the statement stays where it is; others use the connection that writes
 * meanwhile, a reader belongs to the cursor. */
#ifndef NEAP_DRIVERS_SQLITE_CURSOR_H
#define NEAP_DRIVERS_SQLITE_CURSOR_H

#include "sqlite.h"

enum { NEAP__SQLITE_BATCH_ROWS = 256, NEAP__SQLITE_BATCH_SIZE = 64 * 1024 };

typedef struct neap__sqlite_batch {
  neap__sqlite_buffer rows;
  int64_t count;
} neap__sqlite_batch;

/* Refs: the holder's, and one while it pulls. The thread touches what is below the line, while it pulls;
 * the loop's thread, when it does not. */
typedef struct neap__sqlite_cursor {
  neap__list link;        /* in db->cursors, while it is open */
  neap__list pull;        /* in db->pulls, while it pulls */
  neap__sqlite *db;       /* referenced */
  neap__sqlite_turn turn; /* tx, referenced */
  uint32_t refs;
  char *sql;
  size_t size;
  neap__sqlite_buffer params;
  neap__op *waiting;         /* neap__sqlite_next; NULL: nobody does */
  neap__sqlite_batch batch;  /* the one that is used */
  const char *at;            /* its next row */
  int64_t left;              /* rows in it */
  bool is_reading;           /* it is at the readers */
  bool is_pulling, has_next; /* the next batch is on its way, or there */
  bool is_closed;            /* it was closed, and keeps nothing */
  int closed_code;           /* it was closed by its database or its transaction */
  neap__pool_item item;
  neap__post post;
  atomic_bool stop;
  /* -------- */
  _Atomic(neap__sqlite_conn *) conn;
  neap__sqlite_statement *statement; /* NULL: none yet, or none any more */
  neap__sqlite_batch next;
  neap__sqlite_buffer names;
  int columns;
  bool is_at_end, moves; /* moves: it has to go to the connection that writes */
  neap__sqlite_failure failure;
} neap__sqlite_cursor;

/* In a transaction, or in none (NULL). NULL when out of memory. The caller sets sql and params, in the loop's
 * memory; it pulls when somebody waits for it. Owner: the caller has one reference. */
neap__sqlite_cursor *neap__sqlite_cursor_new(neap__sqlite *db, neap__sqlite_tx *tx);
/* The last reference closes it. */
void neap__sqlite_cursor_unref(neap__sqlite_cursor *self);
/* Without a wait; its statement ends on its thread. Idempotent. */
void neap__sqlite_cursor_close(neap__sqlite_cursor *self);

/* Closes those of a transaction, NULL: all, for whom it is an error then. */
void neap__sqlite_close_cursors(neap__sqlite *db, const neap__sqlite_tx *tx);
/* The loop closes, no thread uses the database any more: pulls whose post was refused have ended. */
void neap__sqlite_end_pulls(neap__sqlite *db);

/* Waits for the next batch: done with `left` > 0, or 0 at the end. One at a time. */
typedef struct neap__sqlite_next {
  neap__op op;
  neap__sqlite_cursor *cursor; /* referenced */
  neap__op_link link;
  neap__list place; /* where it waits: alone */
} neap__sqlite_next;

extern const neap__op_kind neap__sqlite_next_kind; /* cursor */

#endif
