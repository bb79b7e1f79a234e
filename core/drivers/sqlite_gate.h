/* Whose turn it is on the connection that writes: transactions, each of which belongs to some tasks, and
 * what has to wait until one ends.
 *
 * Requests come with their transaction, or none. What belongs to the innermost open one passes, in its
 * order; all else waits, first come, first served. What begins a transaction opens it as it passes, so
 * that nothing comes between. */
#ifndef NEAP_DRIVERS_SQLITE_GATE_H
#define NEAP_DRIVERS_SQLITE_GATE_H

#include "../list.h"
#include "../memory.h"

#include <stdatomic.h>

typedef struct neap__sqlite_tx neap__sqlite_tx;
typedef struct neap__sqlite_turn neap__sqlite_turn;

/* Refs: the holder's, and one for each turn. Has no more members than these: who holds one holds the
 * database, too. */
struct neap__sqlite_tx {
  neap__memory *memory;
  neap__sqlite_tx *below; /* while it is open: what it is nested in */
  uint32_t refs;
  bool is_open; /* it is in the gate's stack */
  bool was_open;
  bool is_nested; /* a savepoint */
  atomic_bool has_begun,
      has_ended; /* set by the thread: BEGIN, and COMMIT or ROLLBACK, were done */
};

/* A place before the gate, in memory of whoever waits there. */
struct neap__sqlite_turn {
  neap__list link;
  neap__sqlite_tx *tx;                             /* that it belongs to; NULL: none */
  neap__sqlite_tx *opens;                          /* that begins with it; NULL: none */
  void (*go)(neap__sqlite_turn *turn);             /* it passes; may free it */
  void (*fail)(neap__sqlite_turn *turn, int code); /* it never will; may free it */
  bool is_waiting;
};

typedef struct neap__sqlite_gate {
  neap__list waiting;
  neap__sqlite_tx *top; /* the innermost open transaction; NULL: none */
} neap__sqlite_gate;

void neap__sqlite_gate_init(neap__sqlite_gate *gate);

/* NULL when out of memory. One reference for the caller. */
neap__sqlite_tx *neap__sqlite_tx_new(neap__memory *memory);
/* NULL is allowed in both. */
neap__sqlite_tx *neap__sqlite_tx_ref(neap__sqlite_tx *tx);
void neap__sqlite_tx_unref(neap__sqlite_tx *tx);

/* Passes at once (true: `go` is not called), or waits. */
bool neap__sqlite_gate_enter(neap__sqlite_gate *gate, neap__sqlite_turn *turn);
/* Waits no more. */
void neap__sqlite_gate_leave(neap__sqlite_gate *gate, neap__sqlite_turn *turn);

/* The transaction is over: lets the next ones pass. Those of its own that still wait fail. */
void neap__sqlite_gate_end(neap__sqlite_gate *gate, neap__sqlite_tx *tx);

/* All that wait fail, and what comes later passes. */
void neap__sqlite_gate_close(neap__sqlite_gate *gate, int code);

#endif
