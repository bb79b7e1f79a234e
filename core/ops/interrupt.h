/* An operation that is done when the process gets SIGINT. The next SIGINT ends the process. */
#ifndef NEAP_OPS_INTERRUPT_H
#define NEAP_OPS_INTERRUPT_H

#include "../op.h"

typedef struct neap__interrupt {
  neap__op op;
  uv_signal_t signal;
} neap__interrupt;

extern const neap__op_kind neap__interrupt_kind;

#endif
