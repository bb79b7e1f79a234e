/* What a loop has of blocks that cross threads (neap_bytes in neap.h). */
#ifndef NEAP_BYTES_H
#define NEAP_BYTES_H

#include "loop.h"

/* The share that one thread has in a block: all views of it that have come from each other, and the
 * operations on them, have the same one. So a writable block has one hold in all threads, and giving
 * that up takes it from all views at once.
 *
 * Invariant: the block is writable only through a hold that is, and then nobody else has a reference to
 * it; a hold without a block has no pins. */
typedef struct neap__hold {
  neap_loop *loop;
  neap_bytes *bytes; /* a reference; NULL: it has moved to another thread */
  uint32_t refs;
  uint32_t pins; /* pending operations that write into it: it stays here, and writable */
  bool is_writable;
  void *leaving; /* for the bindings: the message that it is about to leave with */
} neap__hold;

/* Takes over a reference to the block; NULL when out of memory: it is still the caller's. The caller
 * owns a reference to the hold. */
neap__hold *neap__hold_new(neap_loop *loop, neap_bytes *bytes, bool is_writable);

static inline neap__hold *neap__hold_ref(neap__hold *hold) {
  hold->refs++;
  return hold;
}
/* The last one drops the block. */
void neap__hold_unref(neap__hold *hold);

/* Where an operation puts what it reads: `data` is in the block of the hold, which is referenced, and
 * pinned while the operation is pending. Without a hold there is no target. */
typedef struct neap__target {
  neap__hold *hold;
  char *data;
  bool is_pinned;
} neap__target;

/* Pins the block, if there is a target. */
void neap__target_pin(neap__target *target);
/* The block may move, freeze or go from now on: there is no target any more. Idempotent. */
void neap__target_release(neap__target *target);

/* The block leaves this thread: gives its reference away. It is not pinned. */
neap_bytes *neap__hold_give_up(neap__hold *hold);

#endif
