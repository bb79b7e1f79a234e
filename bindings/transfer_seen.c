#include "writer.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_PLACES = 64, MOST_PLACES_KEPT = 1024 };

static neapL__mark *place_of(const neapL__scratch *scratch, const void *pointer) {
  size_t mask = scratch->mark_places - 1;
  size_t place = (size_t)(((uint64_t)(uintptr_t)pointer >> 4) * 0x9E3779B97F4A7C15u >> 32);
  for (;; place++) {
    neapL__mark *mark = &scratch->marks[place & mask];
    if (!mark->pointer || mark->pointer == pointer) return mark;
  }
}

static void grow_marks(neapL__writer *writer) {
  neapL__scratch *scratch = writer->scratch;
  neapL__scratch grown = {.mark_places =
                              scratch->mark_places ? scratch->mark_places * 2 : FIRST_PLACES};
  size_t size = grown.mark_places * sizeof *grown.marks;
  grown.marks = neapL__resize_block(writer->state, NULL, size);
  if (!grown.marks) {
    neapL__raise_memory(writer->L);
    return;
  }
  memset(grown.marks, 0, size);
  for (size_t i = 0; i < scratch->mark_places; i++)
    if (scratch->marks[i].pointer) *place_of(&grown, scratch->marks[i].pointer) = scratch->marks[i];
  free(scratch->marks);
  scratch->marks = grown.marks;
  scratch->mark_places = grown.mark_places;
}

bool neapL__mark_seen(neapL__writer *writer, const void *pointer, uint64_t value, uint64_t *known) {
  neapL__scratch *scratch = writer->scratch;
  if (scratch->mark_count * 2 >= scratch->mark_places) grow_marks(writer);
  neapL__mark *mark = place_of(scratch, pointer);
  if (mark->pointer) {
    *known = mark->value;
    return true;
  }
  *mark = (neapL__mark){pointer, value};
  scratch->mark_count++;
  return false;
}

void neapL__scratch_free(neapL__scratch *scratch) {
  if (!scratch) return;
  free(scratch->marks);
  free(scratch->origins);
  free(scratch);
}

void neapL__scratch_take(neapL__writer *writer) {
  neapL__scratch *scratch = writer->state->scratch;
  if (!scratch) {
    scratch = neapL__resize_block(writer->state, NULL, sizeof *scratch);
    if (!scratch) {
      neapL__raise_memory(writer->L);
      return;
    }
    memset(scratch, 0, sizeof *scratch);
  }
  writer->state->scratch = NULL; /* `before` of a class may write a message of its own */
  writer->message->scratch = writer->scratch = scratch;
}

void neapL__scratch_give(neapL__writer *writer) {
  neapL__scratch *scratch = writer->scratch;
  neapL__state *state = writer->state;
  if (!scratch) return;
  writer->message->scratch = NULL;
  if (state->scratch || scratch->mark_places > MOST_PLACES_KEPT) {
    neapL__scratch_free(scratch);
    return;
  }
  if (scratch->mark_count > 0)
    memset(scratch->marks, 0, scratch->mark_places * sizeof *scratch->marks);
  scratch->mark_count = 0;
  state->scratch = scratch;
}
