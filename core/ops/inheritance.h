/* Descriptors that a child would inherit without being asked: those that others than neap have opened
 * without O_CLOEXEC, as Lua's io does. */
#ifndef NEAP_OPS_INHERITANCE_H
#define NEAP_OPS_INHERITANCE_H

#include "../memory.h"

typedef struct neap__inheritance {
  int *fds;
  size_t count, capacity;
} neap__inheritance;

/* Stops the inheritance of all descriptors but 0, 1 and 2, and notes which they are. UV_ENOMEM: it has
 * stopped nothing. */
int neap__inheritance_stop(neap__inheritance *self, neap__memory *memory);
/* Leaves them as they were. */
void neap__inheritance_restore(neap__inheritance *self, neap__memory *memory);

#endif
