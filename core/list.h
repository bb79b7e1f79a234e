/* Intrusive, circular, doubly linked list. A list is a node that stands for both ends;
 * an unlinked node points to itself, so unlinking twice is harmless. */
#ifndef NEAP_LIST_H
#define NEAP_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct neap__list neap__list;
struct neap__list {
  neap__list *prev, *next;
};

#define NEAP__CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void neap__list_init(neap__list *list) {
  list->prev = list->next = list;
}

static inline bool neap__list_is_empty(const neap__list *list) {
  return list->next == list;
}

/* Appends `node`, which must be unlinked, at the end of `list`. */
static inline void neap__list_append(neap__list *list, neap__list *node) {
  node->prev = list->prev;
  node->next = list;
  list->prev->next = node;
  list->prev = node;
}

static inline void neap__list_unlink(neap__list *node) {
  node->prev->next = node->next;
  node->next->prev = node->prev;
  neap__list_init(node);
}

#endif
