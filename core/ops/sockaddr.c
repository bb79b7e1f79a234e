#include "sockaddr.h"

#include <stdio.h>
#include <string.h>

bool neap__sockaddr_parse(const char *host, int port, neap__sockaddr *address) {
  memset(address, 0, sizeof *address);
  return uv_ip4_addr(host, port, &address->v4) == 0 || uv_ip6_addr(host, port, &address->v6) == 0;
}

bool neap__sockaddr_copy(const struct sockaddr *from, neap__sockaddr *address) {
  memset(address, 0, sizeof *address);
  if (from->sa_family == AF_INET)
    memcpy(&address->v4, from, sizeof address->v4);
  else if (from->sa_family == AF_INET6)
    memcpy(&address->v6, from, sizeof address->v6);
  else
    return false;
  return true;
}

bool neap__sockaddr_equal(const neap__sockaddr *a, const neap__sockaddr *b) {
  if (a->any.sa_family != b->any.sa_family || neap__sockaddr_port(a) != neap__sockaddr_port(b))
    return false;
  if (a->any.sa_family == AF_INET) return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
  return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0 &&
         a->v6.sin6_scope_id == b->v6.sin6_scope_id;
}

int neap__sockaddr_port(const neap__sockaddr *address) {
  return ntohs(address->any.sa_family == AF_INET ? address->v4.sin_port : address->v6.sin6_port);
}

void neap__sockaddr_map(neap__sockaddr *address) {
  struct sockaddr_in from = address->v4;
  memset(address, 0, sizeof *address);
  address->v6.sin6_family = AF_INET6;
  address->v6.sin6_port = from.sin_port;
  address->v6.sin6_addr.s6_addr[10] = address->v6.sin6_addr.s6_addr[11] = 0xff;
  memcpy(&address->v6.sin6_addr.s6_addr[12], &from.sin_addr, sizeof from.sin_addr);
}

void neap__sockaddr_unmap(neap__sockaddr *address) {
  struct sockaddr_in6 from = address->v6;
  if (address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&from.sin6_addr)) return;
  memset(address, 0, sizeof *address);
  address->v4.sin_family = AF_INET;
  address->v4.sin_port = from.sin6_port;
  memcpy(&address->v4.sin_addr, &from.sin6_addr.s6_addr[12], sizeof address->v4.sin_addr);
}

/* An address of a link means nothing without the link. */
static void add_scope(const neap__sockaddr *address, char *host) {
  char name[UV_IF_NAMESIZE];
  size_t size = sizeof name, length = strlen(host);
  if (address->v6.sin6_scope_id == 0) return;
  if (uv_if_indextoiid(address->v6.sin6_scope_id, name, &size)) return;
  snprintf(host + length, NEAP__HOST_SIZE - length, "%%%s", name);
}

void neap__sockaddr_host(const neap__sockaddr *address, char *host) {
  if (address->any.sa_family == AF_INET) {
    uv_ip4_name(&address->v4, host, NEAP__HOST_SIZE);
  } else {
    uv_ip6_name(&address->v6, host, NEAP__HOST_SIZE);
    add_scope(address, host);
  }
}

char *neap__sockaddr_label(neap__memory *memory, const char *host, int port) {
  size_t size = strlen(host) + sizeof "[]:65535";
  char *label = neap__memory_new(memory, size);
  if (label) snprintf(label, size, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
  return label;
}
