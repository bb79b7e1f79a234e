/* Network addresses: literals and their texts. */
#ifndef NEAP_OPS_ADDRESS_H
#define NEAP_OPS_ADDRESS_H

#include "../memory.h"

#include <uv.h>

typedef union neap__address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} neap__address;

/* "fe80::1%eth0" is the longest text of a host. */
enum { NEAP__HOST_SIZE = INET6_ADDRSTRLEN + 1 + UV_IF_NAMESIZE };

/* A literal IP address; false when `host` is a name. */
bool neap__address_parse(const char *host, int port, neap__address *address);

/* A copy of what the system gave; false for a family other than IPv4 and IPv6. */
bool neap__address_copy(const struct sockaddr *from, neap__address *address);

bool neap__address_equal(const neap__address *a, const neap__address *b);

int neap__address_port(const neap__address *address);
void neap__address_set_port(neap__address *address, int port);

/* The text of the host, NEAP__HOST_SIZE bytes. */
void neap__address_host(const neap__address *address, char *host);

/* "host:port" for errors; NULL when out of memory. */
char *neap__address_label(neap__memory *memory, const char *host, int port);

#endif
