#include "memory.h"

#include <stdlib.h>
#include <string.h>

static void *allocate_default(void *data, void *block, size_t size) {
  (void)data;
  if (size > 0) return realloc(block, size);
  free(block);
  return NULL;
}

void neap__memory_init(neap__memory *memory, neap_allocator allocate, void *data) {
  *memory = (neap__memory){.allocate = allocate ? allocate : allocate_default, .data = data};
}

bool neap__memory_must_fail(neap__memory *memory) {
  if (memory->fail_at == 0) return false;
  if (memory->fail_at > 1) {
    memory->fail_at--;
    return false;
  }
  if (!memory->persist) memory->fail_at = 0;
  return memory->fired = true;
}

void *neap__memory_resize(neap__memory *memory, void *block, size_t size) {
  if (neap__memory_must_fail(memory)) return NULL;
  void *result = memory->allocate(memory->data, block, size);
  if (result && !block) memory->live++;
  return result;
}

void *neap__memory_new(neap__memory *memory, size_t size) {
  void *block = neap__memory_resize(memory, NULL, size);
  return block ? memset(block, 0, size) : NULL;
}

void neap__memory_free(neap__memory *memory, void *block) {
  if (!block) return;
  memory->live--;
  memory->allocate(memory->data, block, 0);
}

char *neap__memory_copy(neap__memory *memory, const char *string) {
  size_t size = strlen(string) + 1;
  char *copy = neap__memory_resize(memory, NULL, size);
  return copy ? memcpy(copy, string, size) : NULL;
}
