/* Names and addresses. The system's resolver blocks, so it runs in libuv's thread pool. */
#ifndef NEAP_OPS_DNS_H
#define NEAP_OPS_DNS_H

#include "../op.h"
#include "sockaddr.h"

/* Arguments in, results out. */
typedef struct neap__resolve {
  neap__op op;
  char *host;    /* own copy */
  int family;    /* AF_INET, AF_INET6; 0: both */
  int port;      /* of the results */
  bool has_port; /* for the binding, as the next one */
  bool is_first_only;
  neap__sockaddr *found; /* each once, in the system's order; own */
  size_t count;
  uv_getaddrinfo_t request;
} neap__resolve;

typedef struct neap__reverse {
  neap__op op;
  neap__sockaddr address;
  char *host;               /* its text, for errors; own copy */
  uv_getnameinfo_t request; /* its `host` is the result */
} neap__reverse;

extern const neap__op_kind neap__resolve_kind; /* host, family, port -> found, count */
extern const neap__op_kind neap__reverse_kind; /* address, host -> request.host */

/* For operations that look a name up on their way: `on_found` gets its addresses, each with the port. It is
 * called on the loop's thread, also for an orphan; it frees the list and releases the operation. 0, or a
 * code and op->error. */
int neap__lookup(neap__op *op, uv_getaddrinfo_t *request, const char *host, int port, int family,
                 uv_getaddrinfo_cb on_found);

/* What `status` of an `on_found` is as the outcome of the operation. */
int neap__lookup_code(neap__op *op, int status);

#endif
