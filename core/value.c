#include "value.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- Objects -------------------------------------------------------------------------------- */

neap__box *neap__box_new(const neap_class *class_, void *object) {
  neap__box *box = malloc(sizeof *box);
  if (!box) {
    if (class_->release) class_->release(object);
    return NULL;
  }
  atomic_init(&box->refs, 1);
  box->class_ = class_;
  box->object = object;
  return box;
}

neap__box *neap__box_ref(neap__box *box) {
  atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);
  return box;
}

void neap__box_unref(neap__box *box) {
  if (atomic_fetch_sub(&box->refs, 1) > 1) return;
  if (box->class_->release) box->class_->release(box->object);
  free(box);
}

/* ---- Memory --------------------------------------------------------------------------------- */

/* Memory for bytes, which never moves: what was read stays where it is while more is added. */
typedef struct neap__chunk {
  struct neap__chunk *next;
  size_t used, size;
  char data[];
} chunk;

enum { CHUNK_SIZE = 1024 };

static char *take_bytes(neap_values *self, size_t size) {
  chunk *last = self->chunks;
  if (!last || last->size - last->used < size) {
    size_t room = size > CHUNK_SIZE / 4 ? size : CHUNK_SIZE;
    last = room < SIZE_MAX - sizeof *last ? malloc(sizeof *last + room) : NULL;
    if (!last) return NULL;
    *last = (chunk){.next = self->chunks, .size = room};
    self->chunks = last;
  }
  last->used += size;
  return last->data + last->used - size;
}

static bool grow(neap_values *self) {
  size_t capacity = self->capacity * 2;
  bool is_inline = self->list == self->first;
  neap_value *list = realloc(is_inline ? NULL : self->list, capacity * sizeof *list);
  if (!list) return false;
  if (is_inline) memcpy(list, self->first, sizeof self->first);
  self->list = list;
  self->capacity = capacity;
  return true;
}

void neap__values_init(neap_values *self) {
  self->list = self->first;
  self->count = self->top = 0;
  self->capacity = NEAP__VALUES_INLINE;
  self->chunks = NULL;
  self->open = SIZE_MAX;
  self->depth = 0;
  self->error = 0;
}

static void forget(const neap_value *value) {
  switch (value->kind) {
  case NEAP_VALUE_BUFFER: neap_bytes_unref(value->as.buffer); break;
  case NEAP_VALUE_OBJECT: neap__box_unref(value->as.box); break;
  case NEAP_VALUE_CALLBACK: neap_callback_unref(value->as.callback); break;
  default: break;
  }
}

void neap__values_clear(neap_values *self) {
  for (size_t i = 0; i < self->count; i++) forget(&self->list[i]);
  while (self->chunks) {
    chunk *next = self->chunks->next;
    free(self->chunks);
    self->chunks = next;
  }
  if (self->list != self->first) free(self->list);
  neap__values_init(self);
}

void neap__values_move(neap_values *to, neap_values *from) {
  *to = *from;
  if (from->list == from->first) to->list = to->first;
  neap__values_init(from);
}

int neap_values_new(neap_values **values) {
  *values = malloc(sizeof **values);
  if (!*values) return UV_ENOMEM;
  neap__values_init(*values);
  return 0;
}

void neap_values_free(neap_values *values) {
  if (!values) return;
  neap__values_clear(values);
  free(values);
}

void neap_values_clear(neap_values *values) {
  neap__values_clear(values);
}

void neap__values_fail(neap_values *self, int code) {
  if (self && !self->error) self->error = code;
}

int neap_values_error(const neap_values *values) {
  return values->error ? values->error : values->depth > 0 ? NEAP_EMISUSE : 0;
}

/* ---- Adding --------------------------------------------------------------------------------- */

/* NULL: an error came up, now or before. */
static neap_value *add(neap_values *self, neap_value_kind kind) {
  if (!self || self->error) return NULL;
  if (self->count == UINT32_MAX || (self->count == self->capacity && !grow(self))) {
    self->error = UV_ENOMEM;
    return NULL;
  }
  if (self->depth == 0) self->top++;
  neap_value *value = &self->list[self->count++];
  *value = (neap_value){.kind = (uint8_t)kind, .span = 1};
  return value;
}

void neap_values_add_nil(neap_values *values) {
  add(values, NEAP_VALUE_NIL);
}

void neap_values_add_boolean(neap_values *values, bool boolean) {
  neap_value *value = add(values, NEAP_VALUE_BOOLEAN);
  if (value) value->as.boolean = boolean;
}

void neap_values_add_integer(neap_values *values, int64_t integer) {
  neap_value *value = add(values, NEAP_VALUE_INTEGER);
  if (value) value->as.integer = integer;
}

void neap_values_add_number(neap_values *values, double number) {
  neap_value *value = add(values, NEAP_VALUE_NUMBER);
  if (value) value->as.number = number;
}

void neap_values_add_pointer(neap_values *values, void *pointer) {
  neap_value *value = add(values, NEAP_VALUE_POINTER);
  if (value) value->as.pointer = pointer;
}

void neap_values_add_bytes(neap_values *values, const void *data, size_t size) {
  if (!values || values->error) return;
  char *copy = size < SIZE_MAX ? take_bytes(values, size + 1) : NULL;
  neap_value *value = copy ? add(values, NEAP_VALUE_BYTES) : NULL;
  if (!value) {
    neap__values_fail(values, UV_ENOMEM);
    return;
  }
  if (size > 0) memcpy(copy, data, size);
  copy[size] = '\0';
  value->as.bytes = copy;
  value->size = size;
}

void neap_values_add_string(neap_values *values, const char *string) {
  if (string)
    neap_values_add_bytes(values, string, strlen(string));
  else
    neap_values_add_nil(values);
}

void neap_values_add_buffer(neap_values *values, neap_bytes *bytes) {
  neap_value *value = add(values, NEAP_VALUE_BUFFER);
  if (value) value->as.buffer = neap_bytes_ref(bytes);
}

void neap_values_add_callback(neap_values *values, neap_callback *callback) {
  neap_value *value = add(values, NEAP_VALUE_CALLBACK);
  if (value) value->as.callback = neap_callback_ref(callback);
}

void neap__values_add_box(neap_values *values, neap__box *box) {
  neap_value *value = add(values, NEAP_VALUE_OBJECT);
  if (value)
    value->as.box = box;
  else
    neap__box_unref(box);
}

void neap_values_add_object(neap_values *values, const neap_class *class_, void *object) {
  neap__box *box = neap__box_new(class_, object);
  if (box)
    neap__values_add_box(values, box);
  else
    neap__values_fail(values, UV_ENOMEM);
}

static void add_scalar(neap_values *to, const neap_value *value) {
  if (value->kind == NEAP_VALUE_BYTES) {
    neap_values_add_bytes(to, value->as.bytes, value->size);
    return;
  }
  neap_value *copy = add(to, (neap_value_kind)value->kind);
  if (!copy) return;
  copy->as = value->as;
  switch (value->kind) {
  case NEAP_VALUE_BUFFER: neap_bytes_ref(value->as.buffer); break;
  case NEAP_VALUE_OBJECT: neap__box_ref(value->as.box); break;
  case NEAP_VALUE_CALLBACK: neap_callback_ref(value->as.callback); break;
  default: break;
  }
}

static void open_container(neap_values *self, neap_value_kind kind) {
  if (!self || self->error) return;
  if (self->depth == NEAP__VALUES_DEPTH) {
    self->error = NEAP_EDEPTH;
    return;
  }
  neap_value *container = add(self, kind);
  if (!container) return;
  container->as.outer = self->open;
  self->open = self->count - 1;
  self->depth++;
}

void neap_values_open_array(neap_values *values) {
  open_container(values, NEAP_VALUE_ARRAY);
}

void neap_values_open_map(neap_values *values) {
  open_container(values, NEAP_VALUE_MAP);
}

/* Counted when it is closed: until then it is read as empty. */
static size_t count_items(const neap_value *container) {
  const neap_value *end = container + container->span;
  size_t n = 0;
  for (const neap_value *item = container + 1; item < end; item += item->span) n++;
  return n;
}

void neap_values_close(neap_values *self) {
  if (!self || self->error) return;
  if (self->depth == 0) {
    self->error = NEAP_EMISUSE;
    return;
  }
  neap_value *container = &self->list[self->open];
  container->span = (uint32_t)(self->count - self->open);
  self->open = container->as.outer;
  self->depth--;
  container->size = count_items(container);
  if (container->kind != NEAP_VALUE_MAP) return;
  if (container->size % 2) self->error = NEAP_EMISUSE; /* a key without a value */
  container->size /= 2;
}

/* As deep as lists are, at most. */
void neap_values_add_value(neap_values *to, const neap_value *value) {
  if (value->kind != NEAP_VALUE_ARRAY && value->kind != NEAP_VALUE_MAP) {
    add_scalar(to, value);
    return;
  }
  open_container(to, (neap_value_kind)value->kind);
  const neap_value *end = value + value->span;
  for (const neap_value *item = value + 1; item < end; item += item->span)
    neap_values_add_value(to, item);
  neap_values_close(to);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static const neap_value nil = {.kind = NEAP_VALUE_NIL, .span = 1};

size_t neap_values_count(const neap_values *values) {
  return values ? values->top : 0;
}

static const neap_value *step_to(const neap_value *value, size_t i) {
  while (i-- > 0) value += value->span;
  return value;
}

const neap_value *neap_values_at(const neap_values *values, size_t i) {
  if (!values || i >= values->top) return &nil;
  return values->top == values->count ? &values->list[i] : step_to(values->list, i);
}

neap_value_kind neap_value_kind_of(const neap_value *value) {
  return (neap_value_kind)value->kind;
}

bool neap_value_boolean(const neap_value *value) {
  return value->kind == NEAP_VALUE_BOOLEAN ? value->as.boolean : value->kind != NEAP_VALUE_NIL;
}

/* 2^63 is a double, INT64_MAX is none. */
static const double two_to_63 = 9223372036854775808.0;

static bool fits_integer(double number) {
  return number >= -two_to_63 && number < two_to_63 && number == (double)(int64_t)number;
}

int64_t neap_value_integer(const neap_value *value) {
  if (value->kind == NEAP_VALUE_INTEGER) return value->as.integer;
  if (value->kind != NEAP_VALUE_NUMBER || !fits_integer(value->as.number)) return 0;
  return (int64_t)value->as.number;
}

double neap_value_number(const neap_value *value) {
  if (value->kind == NEAP_VALUE_NUMBER) return value->as.number;
  return value->kind == NEAP_VALUE_INTEGER ? (double)value->as.integer : 0;
}

const char *neap_value_bytes(const neap_value *value, size_t *size) {
  bool is_buffer = value->kind == NEAP_VALUE_BUFFER;
  bool is_bytes = value->kind == NEAP_VALUE_BYTES;
  if (size) *size = is_buffer ? neap_bytes_size(value->as.buffer) : is_bytes ? value->size : 0;
  if (is_buffer) return neap_bytes_data(value->as.buffer);
  return is_bytes ? value->as.bytes : NULL;
}

neap_bytes *neap_value_buffer(const neap_value *value) {
  return value->kind == NEAP_VALUE_BUFFER ? value->as.buffer : NULL;
}

void *neap_value_pointer(const neap_value *value) {
  return value->kind == NEAP_VALUE_POINTER ? value->as.pointer : NULL;
}

void *neap_value_object(const neap_value *value, const neap_class *class_) {
  bool is_it = value->kind == NEAP_VALUE_OBJECT && value->as.box->class_ == class_;
  return is_it ? value->as.box->object : NULL;
}

neap_callback *neap_value_callback(const neap_value *value) {
  return value->kind == NEAP_VALUE_CALLBACK ? value->as.callback : NULL;
}

static bool is_container(const neap_value *value) {
  return value->kind == NEAP_VALUE_ARRAY || value->kind == NEAP_VALUE_MAP;
}

size_t neap_value_count(const neap_value *value) {
  return is_container(value) ? value->size : 0;
}

/* Without arrays and maps in it, each item is one value. */
static const neap_value *inner(const neap_value *value, size_t i, size_t of) {
  bool is_flat = value->span == of + 1;
  return is_flat ? value + 1 + i : step_to(value + 1, i);
}

const neap_value *neap_value_item(const neap_value *value, size_t i) {
  if (i >= neap_value_count(value)) return &nil;
  if (value->kind == NEAP_VALUE_MAP) return inner(value, 2 * i + 1, 2 * value->size);
  return inner(value, i, value->size);
}

const neap_value *neap_value_key(const neap_value *value, size_t i) {
  if (value->kind != NEAP_VALUE_MAP || i >= value->size) return &nil;
  return inner(value, 2 * i, 2 * value->size);
}

const neap_value *neap_value_field(const neap_value *value, const char *name) {
  if (value->kind != NEAP_VALUE_MAP) return &nil;
  const neap_value *key = value + 1;
  size_t size = strlen(name);
  for (size_t i = 0; i < value->size; i++) {
    const neap_value *item = key + key->span;
    bool may_be_it = key->kind == NEAP_VALUE_BYTES && key->size == size;
    if (may_be_it && memcmp(key->as.bytes, name, size) == 0) return item;
    key = item + item->span;
  }
  return &nil;
}

const neap_value *neap_value_next(const neap_value *value) {
  return value + value->span;
}
