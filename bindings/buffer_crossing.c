#include "buffer.h"

#include "error.h"
#include "transfer.h"

#include <stdlib.h>

/* A Buffer on its way. What is immutable has a reference to the block from the beginning. A writable one
 * gets the hold's own when it leaves: until then the hold knows of it, and is referenced. */
typedef struct cargo {
  neap_bytes *bytes;
  neap__hold *hold; /* of the writable one that is about to leave */
  char *data;
  size_t size;
  bool is_writable;
} cargo;

static const char *reason_to_stay(const neapL__buffer *self) {
  const neap__hold *hold = self->hold;
  if (!hold) return "the buffer is closed";
  if (!hold->bytes) return "the buffer has moved to another thread";
  if (hold->pins) return "a read into the buffer is under way";
  if (hold->leaving)
    return "another slice of this writable buffer is in the same message: send one, and slice it "
           "there";
  return NULL;
}

static cargo *new_cargo(lua_State *L, neap_loop *loop) {
  cargo *result = neap__memory_must_fail(&loop->memory) ? NULL : calloc(1, sizeof *result);
  if (!result) neapL__raise_memory(L);
  return result;
}

static void *take(lua_State *L, int index) {
  const neapL__buffer *self = lua_touserdata(L, index);
  const char *reason = reason_to_stay(self);
  if (reason) {
    lua_pushstring(L, reason);
    return NULL;
  }
  neap__hold *hold = self->hold;
  cargo *result = new_cargo(L, hold->loop);
  *result = (cargo){.data = self->data, .size = self->size, .is_writable = hold->is_writable};
  if (hold->is_writable) {
    result->hold = neap__hold_ref(hold);
    hold->leaving = result;
  } else {
    result->bytes = neap_bytes_ref(hold->bytes);
  }
  return result;
}

/* The hold stays behind, on its own thread. */
static void part(cargo *self) {
  self->hold->leaving = NULL;
  neap__hold_unref(self->hold);
  self->hold = NULL;
}

static void leave(lua_State *L, int index) {
  const neapL__buffer *self = lua_touserdata(L, index);
  cargo *leaving = self->hold ? self->hold->leaving : NULL;
  if (!leaving) return;
  leaving->bytes = neap__hold_give_up(self->hold);
  part(leaving);
}

static void arrive(lua_State *L, neapL__state *state, void *shared) {
  cargo *self = shared;
  neapL__buffer *result = neapL__new_buffer(L, state);
  result->hold = neap__hold_new(state->loop, self->bytes, self->is_writable);
  if (!result->hold) neapL__raise_memory(L);
  result->data = self->data;
  result->size = self->size;
  free(self);
}

/* Where there is still a hold, the message has not left: this is the hold's thread. */
static void release(void *shared) {
  cargo *self = shared;
  if (self->hold) part(self);
  if (self->bytes) neap_bytes_unref(self->bytes);
  free(self);
}

static const neapL__crossing crossing = {"neap.Buffer", take, leave, arrive, release};

void neapL__set_buffer_crossing(lua_State *L) {
  neapL__set_crossing(L, &crossing);
}
