/* UDP sockets. */
#ifndef NEAP_OPS_UDP_H
#define NEAP_OPS_UDP_H

#include "../loop.h"
#include "../op.h"
#include "sockaddr.h"

enum {
  NEAP__UDP_ARRIVED = 16 /* datagrams kept while nobody receives; further ones stay in the kernel */
};

typedef struct neap__datagram {
  neap__list link;
  neap__sockaddr from;
  size_t size;
  bool is_partial; /* it was longer */
  char data[];
} neap__datagram;

/* A bound socket. References: the holder's, one while libuv has handles, one for each operation. It
 * keeps the loop alive only while an operation is pending. */
typedef struct neap__udp {
  neap__resource resource;
  neap_loop *loop;
  uv_udp_t udp;
  uv_poll_t
      poll;    /* tells when a full socket takes more; libuv wants a descriptor of its own for it */
  int poll_fd; /* -1: not needed so far */
  uint32_t refs;
  uint32_t open; /* handles that libuv has */
  neap__op *receiver;
  neap__list arrived; /* datagrams */
  unsigned arrived_count;
  int error;           /* for the next to receive; 0 */
  neap__list senders;  /* that wait for room, in order */
  neap__list lookups;  /* operations that wait for an address */
  neap__list closers;  /* those who wait for the end */
  char *buffer;        /* what libuv receives into; made when first needed */
  bool is_v6, is_dual; /* dual: IPv4 peers, too, as mapped addresses */
  bool is_receiving;   /* libuv receives */
  bool is_closing, is_dropped;
} neap__udp;

/* Pending operations fail with ECLOSED. Idempotent. */
void neap__udp_close(neap__udp *self);
void neap__udp_unref(neap__udp *self);
/* Its holder has gone: it closes when nothing is pending any more. Takes the holder's reference. */
void neap__udp_drop(neap__udp *self);

typedef struct neap__udp_op {
  neap__op op;
  neap__op_link link; /* in its senders, lookups or closers */
  neap__udp *udp;     /* referenced; open: the new one, see _take */
  char *host; /* own copy; NULL: open: all of this machine; send: where it is connected to */
  int port;
  char *label; /* "host:port", for errors */
  neap__sockaddr to;
  const char *data; /* send: the caller's until neap__op_start has returned, or `kept` */
  size_t size;
  char *kept;               /* own copy of data */
  neap__datagram *datagram; /* receive: own; NULL: it was closed */
  bool ends;                /* receive: closed is no error */
  bool reuses_address, reuses_port, is_ipv6_only, has_broadcast; /* open */
  uv_getaddrinfo_t request;
} neap__udp_op;

extern const neap__op_kind neap__udp_open_kind;    /* host, port, options -> _take */
extern const neap__op_kind neap__udp_connect_kind; /* udp, host, port */
extern const neap__op_kind neap__udp_send_kind;    /* udp, data, size; host, port */
extern const neap__op_kind neap__udp_receive_kind; /* udp, ends -> datagram */
extern const neap__op_kind neap__udp_close_kind;   /* udp, which is closing already */

/* The socket that an open has made; the caller owns a reference. Once. */
neap__udp *neap__udp_take(neap__udp_op *self);

/* ---- What does not wait: 0 or a negative code ------------------------------------------------- */

int neap__udp_address(const neap__udp *self, bool peer, neap__sockaddr *address);
int neap__udp_disconnect(neap__udp *self);
/* `interface`: an address of this machine; NULL: the system's choice. */
int neap__udp_membership(neap__udp *self, const char *group, const char *interface, bool is_member);
int neap__udp_multicast_interface(neap__udp *self, const char *interface);

typedef enum neap__udp_option {
  NEAP__UDP_BROADCAST,
  NEAP__UDP_TTL,
  NEAP__UDP_MULTICAST_TTL,
  NEAP__UDP_MULTICAST_LOOP
} neap__udp_option;

int neap__udp_set(neap__udp *self, neap__udp_option option, int value);

#endif
