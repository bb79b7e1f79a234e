// tsan: references that many threads take and drop
#include "support.h"

#include "../bytes.h"

#include <string.h>

enum { THREADS = 8, ROUNDS = 20000, SIZE = 4096 };

static neap_bytes *new_bytes(size_t size) {
  neap_bytes *bytes = NULL;
  CHECK(neap_bytes_new(size, &bytes) == 0);
  return bytes;
}

/* ---- Blocks -------------------------------------------------------------------------------- */

TEST(a_new_block_is_zeroed_and_can_be_written) {
  neap_bytes *bytes = new_bytes(SIZE);
  char *data = neap_bytes_data(bytes);
  CHECK(neap_bytes_size(bytes) == SIZE);
  for (size_t i = 0; i < SIZE; i++) CHECK(data[i] == 0);
  memset(data, 'x', SIZE);
  CHECK(neap_bytes_data(bytes)[SIZE - 1] == 'x');
  neap_bytes_unref(bytes);
}

TEST(a_copy_has_the_bytes_of_its_source) {
  char source[] = "some\0bytes";
  neap_bytes *bytes = NULL;
  CHECK(neap_bytes_copy(source, sizeof source, &bytes) == 0);
  source[0] = 'x';
  CHECK(neap_bytes_size(bytes) == sizeof source);
  CHECK(memcmp(neap_bytes_data(bytes), "some\0bytes", sizeof source) == 0);
  neap_bytes_unref(bytes);
}

TEST(blocks_without_bytes_are_blocks) {
  neap_bytes *bytes = new_bytes(0);
  CHECK(neap_bytes_size(bytes) == 0 && neap_bytes_data(bytes) != NULL);
  neap_bytes_unref(bytes);
  CHECK(neap_bytes_copy(NULL, 0, &bytes) == 0);
  CHECK(neap_bytes_size(bytes) == 0);
  neap_bytes_unref(bytes);
  CHECK(neap_bytes_wrap(NULL, 0, NULL, NULL, &bytes) == 0);
  CHECK(neap_bytes_size(bytes) == 0 && neap_bytes_data(bytes) != NULL);
  neap_bytes_unref(bytes);
}

TEST(a_size_that_no_memory_has_is_refused) {
  neap_bytes *bytes;
  CHECK(neap_bytes_new(SIZE_MAX, &bytes) == UV_ENOMEM);
  CHECK(bytes == NULL);
}

static void on_release(void *user, char *data, size_t size) {
  int *calls = user;
  ++*calls;
  CHECK(size == 3 && memcmp(data, "abc", 3) == 0);
}

TEST(foreign_memory_is_released_once_with_the_last_reference) {
  char memory[] = "abc";
  int calls = 0;
  neap_bytes *bytes = NULL;
  CHECK(neap_bytes_wrap(memory, 3, on_release, &calls, &bytes) == 0);
  CHECK(neap_bytes_data(bytes) == memory);
  CHECK(neap_bytes_ref(bytes) == bytes);
  neap_bytes_unref(bytes);
  CHECK(calls == 0);
  neap_bytes_unref(bytes);
  CHECK(calls == 1);
}

/* ---- Threads ------------------------------------------------------------------------------- */

typedef struct reader {
  uv_thread_t thread;
  neap_bytes *bytes; /* a reference of its own */
  int sum;
} reader;

static void read_and_drop(void *data) {
  reader *self = data;
  for (int i = 0; i < ROUNDS; i++) {
    neap_bytes *more = neap_bytes_ref(self->bytes);
    self->sum += neap_bytes_data(more)[i % SIZE];
    neap_bytes_unref(more);
  }
  neap_bytes_unref(self->bytes);
}

static atomic_int releases;

static void release_memory(void *user, char *data, size_t size) {
  memset(data, 0, size); /* a thread that still read would race with this */
  free(data);
  atomic_fetch_add((atomic_int *)user, 1);
}

TEST(a_block_lives_until_the_last_of_eight_threads_has_dropped_it) {
  reader readers[THREADS] = {0};
  neap_bytes *bytes = NULL;
  char *memory = malloc(SIZE);
  memset(memory, 1, SIZE);
  atomic_store(&releases, 0);
  CHECK(neap_bytes_wrap(memory, SIZE, release_memory, &releases, &bytes) == 0);
  for (int i = 0; i < THREADS; i++) {
    readers[i].bytes = neap_bytes_ref(bytes);
    CHECK(uv_thread_create(&readers[i].thread, read_and_drop, &readers[i]) == 0);
  }
  neap_bytes_unref(bytes);
  for (int i = 0; i < THREADS; i++) uv_thread_join(&readers[i].thread);
  for (int i = 0; i < THREADS; i++) CHECK(readers[i].sum == ROUNDS);
  CHECK(atomic_load(&releases) == 1);
}

typedef struct relay {
  uv_mutex_t mutex;
  neap_bytes *bytes; /* who has it writes; NULL: nobody has put it back yet */
} relay;

static void write_in_turn(void *data) {
  relay *self = data;
  for (int i = 0; i < 1000; i++) {
    uv_mutex_lock(&self->mutex);
    neap_bytes *bytes = self->bytes;
    self->bytes = NULL;
    uv_mutex_unlock(&self->mutex);
    if (!bytes) continue;
    neap_bytes_data(bytes)[0]++;
    uv_mutex_lock(&self->mutex);
    self->bytes = bytes;
    uv_mutex_unlock(&self->mutex);
  }
}

/* Each thread takes the only reference: nothing but the handing over orders the writes. */
TEST(the_only_reference_may_be_handed_from_thread_to_thread_and_written) {
  uv_thread_t threads[THREADS];
  relay self = {.bytes = new_bytes(1)};
  CHECK(uv_mutex_init(&self.mutex) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(uv_thread_create(&threads[i], write_in_turn, &self) == 0);
  for (int i = 0; i < THREADS; i++) uv_thread_join(&threads[i]);
  neap_bytes_unref(self.bytes);
  uv_mutex_destroy(&self.mutex);
}

/* ---- Holds --------------------------------------------------------------------------------- */

TEST(a_hold_keeps_its_block_for_all_who_have_it) {
  bench b;
  char memory[] = "abc";
  int calls = 0;
  neap_bytes *bytes = NULL;
  neap_loop *loop = bench_open(&b);
  CHECK(neap_bytes_wrap(memory, 3, on_release, &calls, &bytes) == 0);
  neap__hold *hold = neap__hold_new(loop, bytes, true);
  neap__hold_ref(hold);
  neap__hold_unref(hold);
  CHECK(calls == 0);
  neap__hold_unref(hold);
  CHECK(calls == 1);
  bench_close_idle(&b);
}

TEST(a_hold_may_outlive_its_loop) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__hold *hold = neap__hold_new(loop, new_bytes(SIZE), false);
  neap_loop_close(loop);
  CHECK(neap_bytes_size(hold->bytes) == SIZE);
  neap__hold_unref(hold);
  CHECK(atomic_load(&b.memory.live) == 0);
}

TEST(what_was_given_up_is_not_the_holds_any_more) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__hold *hold = neap__hold_new(loop, new_bytes(SIZE), true);
  neap_bytes *bytes = neap__hold_give_up(hold);
  CHECK(hold->bytes == NULL);
  neap__hold_unref(hold);
  CHECK(neap_bytes_size(bytes) == SIZE);
  neap_bytes_unref(bytes);
  bench_close_idle(&b);
}

TEST(a_hold_without_memory_leaves_the_block_to_its_owner) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap_bytes *bytes = new_bytes(SIZE);
  neap_loop_fail_allocation(loop, 1, false);
  CHECK(neap__hold_new(loop, bytes, true) == NULL);
  neap_bytes_unref(bytes);
  bench_close_idle(&b);
}

TEST(a_target_pins_its_hold_until_it_is_released) {
  bench b;
  neap_loop *loop = bench_open(&b);
  neap__hold *hold = neap__hold_new(loop, new_bytes(SIZE), true);
  neap__target target = {.hold = neap__hold_ref(hold), .data = neap_bytes_data(hold->bytes)};
  neap__target_pin(&target);
  CHECK(hold->pins == 1 && hold->refs == 2);
  neap__target_release(&target);
  neap__target_release(&target);
  CHECK(hold->pins == 0 && hold->refs == 1);
  target = (neap__target){.hold = neap__hold_ref(hold)};
  neap__target_release(&target); /* it was never pinned */
  CHECK(hold->pins == 0 && hold->refs == 1);
  neap__target none = {0};
  neap__target_pin(&none);
  neap__target_release(&none);
  neap__hold_unref(hold);
  bench_close_idle(&b);
}
