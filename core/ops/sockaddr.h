/* Network addresses: literals and their texts. */
#ifndef NEAP_OPS_SOCKADDR_H
#define NEAP_OPS_SOCKADDR_H

#include "../memory.h"

#include <uv.h>

typedef union neap__sockaddr {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} neap__sockaddr;

/* "fe80::1%eth0" is the longest text of a host. */
enum { NEAP__HOST_SIZE = INET6_ADDRSTRLEN + 1 + UV_IF_NAMESIZE };

/* A literal IP address; false when `host` is a name. */
bool neap__sockaddr_parse(const char *host, int port, neap__sockaddr *address);

/* A copy of what the system gave; false for a family other than IPv4 and IPv6. */
bool neap__sockaddr_copy(const struct sockaddr *from, neap__sockaddr *address);

bool neap__sockaddr_equal(const neap__sockaddr *a, const neap__sockaddr *b);

int neap__sockaddr_port(const neap__sockaddr *address);

/* The length of an address of that family, as system calls want it. */
static inline socklen_t neap__sockaddr_length(const struct sockaddr *address) {
  return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* Between an IPv4 address and the IPv6 address that stands for it, ::ffff:a.b.c.d. The second one leaves
 * others as they are. */
void neap__sockaddr_map(neap__sockaddr *address);
void neap__sockaddr_unmap(neap__sockaddr *address);

/* The text of the host, NEAP__HOST_SIZE bytes. */
void neap__sockaddr_host(const neap__sockaddr *address, char *host);

/* "host:port" for errors; NULL when out of memory. */
char *neap__sockaddr_label(neap__memory *memory, const char *host, int port);

#endif
