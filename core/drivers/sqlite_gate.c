#include "sqlite_gate.h"

#include <assert.h>

neap__sqlite_tx *neap__sqlite_tx_new(neap__memory *memory) {
  neap__sqlite_tx *tx = neap__memory_new(memory, sizeof *tx);
  if (!tx) return NULL;
  tx->memory = memory;
  tx->refs = 1;
  atomic_init(&tx->has_begun, false);
  atomic_init(&tx->has_ended, false);
  return tx;
}

neap__sqlite_tx *neap__sqlite_tx_ref(neap__sqlite_tx *tx) {
  if (tx) tx->refs++;
  return tx;
}

void neap__sqlite_tx_unref(neap__sqlite_tx *tx) {
  if (!tx || --tx->refs > 0) return;
  assert(!tx->is_open);
  neap__memory_free(tx->memory, tx);
}

void neap__sqlite_gate_init(neap__sqlite_gate *gate) {
  neap__list_init(&gate->waiting);
  gate->top = NULL;
}

/* The stack holds a reference. */
static void open_transaction(neap__sqlite_gate *gate, neap__sqlite_tx *tx) {
  tx->below = gate->top;
  tx->is_nested = gate->top != NULL;
  tx->is_open = tx->was_open = true;
  gate->top = neap__sqlite_tx_ref(tx);
}

static void pass(neap__sqlite_gate *gate, const neap__sqlite_turn *turn) {
  if (turn->opens) open_transaction(gate, turn->opens);
}

bool neap__sqlite_gate_enter(neap__sqlite_gate *gate, neap__sqlite_turn *turn) {
  neap__list_init(&turn->link);
  turn->is_waiting = turn->tx != gate->top;
  if (turn->is_waiting)
    neap__list_append(&gate->waiting, &turn->link);
  else
    pass(gate, turn);
  return !turn->is_waiting;
}

void neap__sqlite_gate_leave(neap__sqlite_gate *gate, neap__sqlite_turn *turn) {
  (void)gate;
  neap__list_unlink(&turn->link);
  turn->is_waiting = false;
}

/* The first that waits and belongs to `tx`. */
static neap__sqlite_turn *first_of(const neap__sqlite_gate *gate, const neap__sqlite_tx *tx) {
  for (neap__list *link = gate->waiting.next; link != &gate->waiting; link = link->next) {
    neap__sqlite_turn *turn = NEAP__CONTAINER(link, neap__sqlite_turn, link);
    if (turn->tx == tx) return turn;
  }
  return NULL;
}

/* What passes may open the next transaction, to which nobody can belong yet: the rest waits again. */
static void let_pass(neap__sqlite_gate *gate) {
  bool has_opened = false;
  for (neap__sqlite_turn *turn; !has_opened && (turn = first_of(gate, gate->top));) {
    has_opened = turn->opens != NULL;
    neap__sqlite_gate_leave(gate, turn);
    pass(gate, turn);
    turn->go(turn);
  }
}

static void remove_from_stack(neap__sqlite_gate *gate, neap__sqlite_tx *tx) {
  neap__sqlite_tx **place = &gate->top;
  while (*place != tx) place = &(*place)->below;
  *place = tx->below;
  tx->is_open = false;
  tx->below = NULL;
}

void neap__sqlite_gate_end(neap__sqlite_gate *gate, neap__sqlite_tx *tx) {
  if (!tx->is_open) return;
  remove_from_stack(gate, tx);
  for (neap__sqlite_turn *turn; (turn = first_of(gate, tx));) {
    neap__sqlite_gate_leave(gate, turn);
    turn->fail(turn, NEAP_ECLOSED);
  }
  let_pass(gate);
  neap__sqlite_tx_unref(tx);
}

void neap__sqlite_gate_close(neap__sqlite_gate *gate, int code) {
  while (!neap__list_is_empty(&gate->waiting)) {
    neap__sqlite_turn *turn = NEAP__CONTAINER(gate->waiting.next, neap__sqlite_turn, link);
    neap__sqlite_gate_leave(gate, turn);
    turn->fail(turn, code);
  }
  while (gate->top) {
    neap__sqlite_tx *tx = gate->top;
    remove_from_stack(gate, tx);
    neap__sqlite_tx_unref(tx);
  }
}
