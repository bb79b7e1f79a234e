/* An operation that is done when nothing is ready to run: what tests wait for. */
#ifndef NEAP_OPS_BLOCKED_H
#define NEAP_OPS_BLOCKED_H

#include "../op.h"

typedef struct neap__blocked {
  neap__op op;
  neap__op_link link; /* in loop->watchers */
} neap__blocked;

extern const neap__op_kind neap__blocked_kind;

/* Nothing is ready: ends those that wait for it; false if there are none. */
bool neap__blocked_notify(neap_loop *loop);

#endif
