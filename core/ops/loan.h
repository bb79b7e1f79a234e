/* An open file or stream of ours that a child has as one of its standard streams, as long as it lives. */
#ifndef NEAP_OPS_LOAN_H
#define NEAP_OPS_LOAN_H

#include "file.h"
#include "stream.h"

/* One of them, referenced; both NULL: nothing is lent. */
typedef struct neap__loan {
  neap__file *file;
  neap__stream *stream;
} neap__loan;

/* Gives its descriptor, at the position that users see; a negative code, and *message, where it is used at
 * this moment. */
int neap__loan_begin(const neap__loan *loan, int *fd, const char **message);

/* The child has ended: the position is where the child has left it, the stream does not block again.
 * Drops the reference. */
void neap__loan_end(neap__loan *loan);

#endif
