/* An operation that is done in the next turn. */
#ifndef NEAP_OPS_PAUSE_H
#define NEAP_OPS_PAUSE_H

#include "../op.h"
#include "../ready.h"

typedef struct neap__pause {
  neap__op op;
  neap__runnable runnable;
} neap__pause;

extern const neap__op_kind neap__pause_kind;

/* What the ready queue calls; also how the loop, when it closes, frees those that are still queued. */
void neap__pause_run(neap__runnable *runnable);

#endif
