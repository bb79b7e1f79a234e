#include "http_server.h"

#include <string.h>

bool neap__bytes_reserve(neap__bytes *bytes, neap__memory *memory, size_t n) {
  if (bytes->capacity - bytes->length >= n) return true;
  size_t capacity = bytes->capacity ? bytes->capacity * 2 : 512;
  while (capacity - bytes->length < n) capacity *= 2;
  char *data = neap__memory_resize(memory, bytes->data, capacity);
  if (!data) return false;
  bytes->data = data;
  bytes->capacity = capacity;
  return true;
}

void neap__bytes_put(neap__bytes *bytes, const char *data, size_t n) {
  if (n == 0) return;
  memcpy(bytes->data + bytes->length, data, n);
  bytes->length += n;
}

bool neap__bytes_add(neap__bytes *bytes, neap__memory *memory, const char *data, size_t n) {
  if (!neap__bytes_reserve(bytes, memory, n)) return false;
  neap__bytes_put(bytes, data, n);
  return true;
}

void neap__bytes_free(neap__bytes *bytes, neap__memory *memory) {
  neap__memory_free(memory, bytes->data);
  *bytes = (neap__bytes){0};
}
