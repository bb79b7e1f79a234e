#include "bytes.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Its memory is of the process, not of a loop's allocator: the last reference may be dropped on a thread
 * that has no loop, after the loop that made it has closed. */
struct neap_bytes {
  atomic_size_t refs;
  size_t size;
  char *data; /* `own`, or foreign memory */
  void (*release)(void *user, char *data, size_t size);
  void *user;
  _Alignas(max_align_t) char own[];
};

/* Zeroed. Large blocks cost nothing until they are touched. */
static neap_bytes *allocate(size_t size) {
  if (size > SIZE_MAX - sizeof(neap_bytes)) return NULL;
  neap_bytes *bytes = calloc(1, sizeof *bytes + size);
  if (!bytes) return NULL;
  atomic_init(&bytes->refs, 1);
  return bytes;
}

int neap_bytes_new(size_t size, neap_bytes **bytes) {
  *bytes = allocate(size);
  if (!*bytes) return UV_ENOMEM;
  (*bytes)->data = (*bytes)->own;
  (*bytes)->size = size;
  return 0;
}

int neap_bytes_copy(const void *data, size_t size, neap_bytes **bytes) {
  int code = neap_bytes_new(size, bytes);
  if (!code && size > 0) memcpy((*bytes)->data, data, size);
  return code;
}

int neap_bytes_wrap(char *data, size_t size, void (*release)(void *user, char *data, size_t size),
                    void *user, neap_bytes **bytes) {
  *bytes = allocate(0);
  if (!*bytes) return UV_ENOMEM;
  (*bytes)->data = data ? data : (*bytes)->own;
  (*bytes)->size = size;
  (*bytes)->release = release;
  (*bytes)->user = user;
  return 0;
}

neap_bytes *neap_bytes_ref(neap_bytes *bytes) {
  atomic_fetch_add_explicit(&bytes->refs, 1, memory_order_relaxed);
  return bytes;
}

/* What others have done with the bytes has happened before the last one frees them. */
void neap_bytes_unref(neap_bytes *bytes) {
  if (atomic_fetch_sub_explicit(&bytes->refs, 1, memory_order_acq_rel) > 1) return;
  if (bytes->release) bytes->release(bytes->user, bytes->data, bytes->size);
  free(bytes);
}

char *neap_bytes_data(const neap_bytes *bytes) {
  return bytes->data;
}

size_t neap_bytes_size(const neap_bytes *bytes) {
  return bytes->size;
}

/* ---- Holds --------------------------------------------------------------------------------- */

neap__hold *neap__hold_new(neap_loop *loop, neap_bytes *bytes, bool is_writable) {
  neap__hold *hold = neap__memory_new(&loop->memory, sizeof *hold);
  if (!hold) return NULL;
  hold->loop = loop;
  hold->bytes = bytes;
  hold->refs = 1;
  hold->is_writable = is_writable;
  neap__loop_anchor(loop);
  return hold;
}

void neap__hold_unref(neap__hold *hold) {
  if (--hold->refs > 0) return;
  assert(hold->pins == 0);
  neap_loop *loop = hold->loop;
  if (hold->bytes) neap_bytes_unref(hold->bytes);
  neap__memory_free(&loop->memory, hold);
  neap__loop_unanchor(loop);
}

neap_bytes *neap__hold_give_up(neap__hold *hold) {
  assert(hold->pins == 0);
  neap_bytes *bytes = hold->bytes;
  hold->bytes = NULL;
  return bytes;
}

void neap__target_pin(neap__target *target) {
  if (!target->hold) return;
  target->hold->pins++;
  target->is_pinned = true;
}

void neap__target_release(neap__target *target) {
  if (!target->hold) return;
  if (target->is_pinned) target->hold->pins--;
  neap__hold_unref(target->hold);
  *target = (neap__target){0};
}
