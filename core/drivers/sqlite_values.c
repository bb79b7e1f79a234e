#include "sqlite_values.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_CAPACITY = 256 };

static char *resize(const neap__sqlite_buffer *buffer, size_t size) {
  if (buffer->memory) return neap__memory_resize(buffer->memory, buffer->data, size);
  return realloc(buffer->data, size);
}

/* Room for `size` more bytes: NULL, or where they go. */
static char *extend(neap__sqlite_buffer *buffer, size_t size) {
  size_t capacity = buffer->capacity ? buffer->capacity : LEAST_CAPACITY;
  if (size > SIZE_MAX / 4 - buffer->size) return NULL;
  while (capacity < buffer->size + size) capacity *= 2;
  if (capacity != buffer->capacity) {
    char *data = resize(buffer, capacity);
    if (!data) return NULL;
    buffer->data = data;
    buffer->capacity = capacity;
  }
  char *place = buffer->data + buffer->size;
  buffer->size += size;
  return place;
}

static bool put_number(neap__sqlite_buffer *buffer, neap__sqlite_type type, const void *number) {
  char *place = extend(buffer, 1 + sizeof(int64_t));
  if (!place) return false;
  *place = (char)type;
  memcpy(place + 1, number, sizeof(int64_t));
  return true;
}

bool neap__sqlite_put_bytes(neap__sqlite_buffer *buffer, neap__sqlite_type type, const char *data,
                            size_t size) {
  uint32_t length = (uint32_t)size;
  char *place = size > UINT32_MAX ? NULL : extend(buffer, 1 + sizeof length + size);
  if (!place) return false;
  *place = (char)type;
  memcpy(place + 1, &length, sizeof length);
  if (size > 0) memcpy(place + 1 + sizeof length, data, size);
  return true;
}

bool neap__sqlite_put(neap__sqlite_buffer *buffer, const neap__sqlite_value *value) {
  switch (value->type) {
  case NEAP__SQLITE_NULL: {
    char *place = extend(buffer, 1);
    if (place) *place = (char)NEAP__SQLITE_NULL;
    return place;
  }
  case NEAP__SQLITE_PLACE:
  case NEAP__SQLITE_INTEGER: return put_number(buffer, value->type, &value->integer);
  case NEAP__SQLITE_FLOAT: return put_number(buffer, value->type, &value->number);
  default: return neap__sqlite_put_bytes(buffer, value->type, value->data, value->size);
  }
}

const char *neap__sqlite_get(const char *at, neap__sqlite_value *value) {
  uint32_t length;
  value->type = (neap__sqlite_type)*at++;
  switch (value->type) {
  case NEAP__SQLITE_NULL: return at;
  case NEAP__SQLITE_PLACE:
  case NEAP__SQLITE_INTEGER:
    memcpy(&value->integer, at, sizeof value->integer);
    return at + sizeof value->integer;
  case NEAP__SQLITE_FLOAT:
    memcpy(&value->number, at, sizeof value->number);
    return at + sizeof value->number;
  default:
    memcpy(&length, at, sizeof length);
    value->data = at + sizeof length;
    value->size = length;
    return value->data + length;
  }
}

void neap__sqlite_buffer_deinit(neap__sqlite_buffer *buffer) {
  if (buffer->memory)
    neap__memory_free(buffer->memory, buffer->data);
  else
    free(buffer->data);
  buffer->data = NULL;
  buffer->size = buffer->capacity = 0;
}
