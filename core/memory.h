/* The loop's allocator, with counting and failures on demand. */
#ifndef NEAP_MEMORY_H
#define NEAP_MEMORY_H

#include "neap.h"

typedef struct neap__memory {
  neap_allocator allocate;
  void *data;
  size_t live;           /* blocks that are allocated now */
  unsigned long fail_at; /* the n-th allocation from now fails; 0: none */
  bool persist;          /* and so do all after it */
  bool fired;            /* a failure was delivered */
} neap__memory;

void neap__memory_init(neap__memory *memory, neap_allocator allocate, void *data);

/* Zeroed memory, or NULL. */
void *neap__memory_new(neap__memory *memory, size_t size);
/* Grows or shrinks a block as realloc does; NULL leaves the old one as it was. */
void *neap__memory_resize(neap__memory *memory, void *block, size_t size);
/* NULL is allowed. */
void neap__memory_free(neap__memory *memory, void *block);
/* A copy of a string, or NULL. */
char *neap__memory_copy(neap__memory *memory, const char *string);

/* Counts one allocation of a test's choice and tells whether it must fail. */
bool neap__memory_must_fail(neap__memory *memory);

#endif
