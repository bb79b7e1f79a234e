/* Operations on time. */
#ifndef NEAP_OPS_SLEEP_H
#define NEAP_OPS_SLEEP_H

#include "../op.h"
#include "../timer.h"

typedef struct neap__sleep {
  neap__op op;
  neap__timer timer;
  double deadline; /* of the loop's clock */
  int64_t tick;    /* for tickers: which one it is */
  bool is_ended;   /* by neap__sleep_end */
} neap__sleep;

/* Ends it now, as done. Harmless when it has ended. */
void neap__sleep_end(neap__sleep *self);

extern const neap__op_kind neap__sleep_kind;

#endif
