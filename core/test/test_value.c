#include "support.h"

#include "value.h"

static neap_values *make(void) {
  neap_values *values = NULL;
  CHECK(neap_values_new(&values) == 0);
  return values;
}

TEST(scalars_are_read_as_they_were_written) {
  neap_values *values = make();
  neap_values_add_nil(values);
  neap_values_add_boolean(values, true);
  neap_values_add_integer(values, INT64_MIN);
  neap_values_add_number(values, 2.0);
  neap_values_add_number(values, 0.5);
  neap_values_add_pointer(values, values);
  neap_values_add_bytes(values, "a\0b", 3);
  neap_values_add_string(values, NULL);
  CHECK(neap_values_error(values) == 0 && neap_values_count(values) == 8);
  CHECK(neap_value_kind_of(neap_values_at(values, 0)) == NEAP_VALUE_NIL);
  CHECK(neap_value_boolean(neap_values_at(values, 1)) &&
        !neap_value_boolean(neap_values_at(values, 0)));
  CHECK(neap_value_integer(neap_values_at(values, 2)) == INT64_MIN);
  CHECK(neap_value_integer(neap_values_at(values, 3)) == 2);
  CHECK(neap_value_integer(neap_values_at(values, 4)) == 0);
  CHECK(neap_value_number(neap_values_at(values, 4)) == 0.5);
  CHECK(neap_value_pointer(neap_values_at(values, 5)) == values);
  size_t size;
  const char *bytes = neap_value_bytes(neap_values_at(values, 6), &size);
  CHECK(size == 3 && memcmp(bytes, "a\0b\0", 4) == 0);
  CHECK(neap_value_kind_of(neap_values_at(values, 7)) == NEAP_VALUE_NIL);
  neap_values_free(values);
}

TEST(other_kinds_and_places_beyond_the_end_are_empty) {
  neap_values *values = make();
  neap_values_add_string(values, "x");
  const neap_value *text = neap_values_at(values, 0);
  CHECK(neap_value_integer(text) == 0 && neap_value_number(text) == 0);
  CHECK(neap_value_pointer(text) == NULL && neap_value_callback(text) == NULL);
  CHECK(neap_value_count(text) == 0 && neap_value_boolean(text));
  CHECK(neap_value_kind_of(neap_value_item(text, 0)) == NEAP_VALUE_NIL);
  CHECK(neap_value_kind_of(neap_value_key(text, 0)) == NEAP_VALUE_NIL);
  CHECK(neap_value_kind_of(neap_value_field(text, "x")) == NEAP_VALUE_NIL);
  CHECK(neap_value_kind_of(neap_values_at(values, 1)) == NEAP_VALUE_NIL);
  CHECK(neap_value_kind_of(neap_values_at(NULL, 0)) == NEAP_VALUE_NIL);
  size_t size = 7;
  CHECK(neap_value_bytes(neap_values_at(values, 1), &size) == NULL && size == 0);
  CHECK(neap_values_count(NULL) == 0);
  neap_values_free(values);
  neap_values_free(NULL);
}

/* {1, {2, 3}, {a = {}}}, "end" */
TEST(arrays_and_maps_are_in_each_other) {
  neap_values *values = make();
  neap_values_open_array(values);
  neap_values_add_integer(values, 1);
  neap_values_open_array(values);
  neap_values_add_integer(values, 2);
  neap_values_add_integer(values, 3);
  neap_values_close(values);
  neap_values_open_map(values);
  neap_values_add_string(values, "a");
  neap_values_open_array(values);
  neap_values_close(values);
  neap_values_close(values);
  CHECK(neap_values_error(values) == NEAP_EMISUSE); /* one is open */
  neap_values_close(values);
  neap_values_add_string(values, "end");
  CHECK(neap_values_error(values) == 0 && neap_values_count(values) == 2);
  const neap_value *list = neap_values_at(values, 0);
  CHECK(neap_value_count(list) == 3);
  CHECK(neap_value_integer(neap_value_item(neap_value_item(list, 1), 1)) == 3);
  const neap_value *map = neap_value_item(list, 2);
  CHECK(neap_value_kind_of(map) == NEAP_VALUE_MAP && neap_value_count(map) == 1);
  CHECK(strcmp(neap_value_bytes(neap_value_key(map, 0), NULL), "a") == 0);
  CHECK(neap_value_kind_of(neap_value_field(map, "a")) == NEAP_VALUE_ARRAY);
  CHECK(neap_value_kind_of(neap_value_field(map, "b")) == NEAP_VALUE_NIL);
  CHECK(neap_value_next(list) == neap_values_at(values, 1));
  CHECK(strcmp(neap_value_bytes(neap_values_at(values, 1), NULL), "end") == 0);
  neap_values_free(values);
}

TEST(a_list_grows_and_what_was_read_stays_where_it_is) {
  neap_values *values = make();
  neap_values_add_string(values, "the first");
  const char *first = neap_value_bytes(neap_values_at(values, 0), NULL);
  for (int i = 0; i < 10000; i++) neap_values_add_bytes(values, &i, sizeof i);
  CHECK(neap_value_bytes(neap_values_at(values, 0), NULL) == first);
  CHECK(memcmp(neap_value_bytes(neap_values_at(values, 10000), NULL), &(int){9999}, sizeof(int)) ==
        0);
  neap_values_clear(values);
  CHECK(neap_values_count(values) == 0);
  neap_values_add_integer(values, 1);
  CHECK(neap_values_count(values) == 1);
  neap_values_free(values);
}

TEST(misuse_stays_in_the_list) {
  neap_values *values = make();
  neap_values_close(values);
  CHECK(neap_values_error(values) == NEAP_EMISUSE);
  neap_values_add_integer(values, 1);
  CHECK(neap_values_count(values) == 0);
  neap_values_clear(values);
  neap_values_open_map(values);
  neap_values_add_string(values, "key without a value");
  neap_values_close(values);
  CHECK(neap_values_error(values) == NEAP_EMISUSE);
  neap_values_clear(values);
  for (int i = 0; i < NEAP__VALUES_DEPTH; i++) neap_values_open_array(values);
  CHECK(neap_values_error(values) == NEAP_EMISUSE); /* open */
  neap_values_open_array(values);
  CHECK(neap_values_error(values) == NEAP_EDEPTH);
  neap_values_free(values);
  neap_values_add_integer(NULL, 1);
  neap_values_open_array(NULL);
  neap_values_close(NULL);
  neap_values_add_bytes(NULL, "x", 1);
}

/* Reading beyond what was written would be seen by a sanitizer. */
TEST(what_is_open_still_is_read_as_empty) {
  neap_values *values = make();
  neap_values_add_integer(values, 1);
  neap_values_open_map(values);
  for (int i = 0; i < 4; i++) neap_values_add_integer(values, i);
  const neap_value *map = neap_values_at(values, 1);
  CHECK(neap_value_count(map) == 0);
  CHECK(neap_value_kind_of(neap_value_item(map, 1)) == NEAP_VALUE_NIL);
  CHECK(neap_value_kind_of(neap_value_field(map, "x")) == NEAP_VALUE_NIL);
  neap_values_close(values);
  CHECK(neap_value_count(neap_values_at(values, 1)) == 2);
  CHECK(neap_value_integer(neap_value_item(neap_values_at(values, 1), 1)) == 3);
  neap_values_free(values);
}

TEST(a_field_has_all_bytes_of_its_name) {
  neap_values *values = make();
  neap_values_open_map(values);
  neap_values_add_bytes(values, "id\0x", 4);
  neap_values_add_integer(values, 1);
  neap_values_add_string(values, "id");
  neap_values_add_integer(values, 2);
  neap_values_close(values);
  CHECK(neap_value_integer(neap_value_field(neap_values_at(values, 0), "id")) == 2);
  neap_values_free(values);
}

static int released;

static void release(void *object) {
  released += *(int *)object;
}

static const neap_class one = {"test.One", release}, other = {"test.Other", NULL};

TEST(an_object_is_released_once) {
  neap_values *values = make();
  int object = 1;
  released = 0;
  neap_values_add_object(values, &one, &object);
  neap_values_add_object(values, &other, &object);
  CHECK(neap_value_object(neap_values_at(values, 0), &one) == &object);
  CHECK(neap_value_object(neap_values_at(values, 0), &other) == NULL);
  neap__box *box = neap__box_ref(values->list[0].as.box);
  neap_values_free(values);
  CHECK(released == 0);
  neap__box_unref(box);
  CHECK(released == 1);
}

TEST(an_object_that_cannot_be_added_is_released) {
  neap_values *values = make();
  int object = 1;
  released = 0;
  neap_values_close(values);
  neap_values_add_object(values, &one, &object);
  CHECK(released == 1);
  neap_values_add_object(NULL, &one, &object);
  CHECK(released == 2);
  neap_values_free(values);
}

TEST(a_buffer_is_shared) {
  neap_values *values = make();
  neap_bytes *bytes;
  CHECK(neap_bytes_copy("shared", 6, &bytes) == 0);
  neap_values_add_buffer(values, bytes);
  CHECK(neap_value_buffer(neap_values_at(values, 0)) == bytes);
  size_t size;
  CHECK(neap_value_bytes(neap_values_at(values, 0), &size) == neap_bytes_data(bytes) && size == 6);
  neap_bytes_unref(bytes);
  CHECK(memcmp(neap_value_bytes(neap_values_at(values, 0), NULL), "shared", 6) == 0);
  neap_values_free(values);
}

TEST(a_list_moves) {
  neap_values from, to;
  neap__values_init(&from);
  for (int n = 1; n <= 8; n++) { /* inline, and not any more */
    for (int i = 0; i < n; i++) neap_values_add_integer(&from, i);
    neap__values_move(&to, &from);
    CHECK(neap_values_count(&from) == 0 && neap_values_count(&to) == (size_t)n);
    CHECK(neap_value_integer(neap_values_at(&to, (size_t)n - 1)) == n - 1);
    neap__values_clear(&to);
  }
}

TEST(a_value_is_added_with_all_that_is_in_it) {
  neap_values *from = make(), *to = make();
  int object = 1;
  released = 0;
  neap_values_open_map(from);
  neap_values_add_string(from, "list");
  neap_values_open_array(from);
  neap_values_add_number(from, 0.5);
  neap_values_add_object(from, &one, &object);
  neap_values_close(from);
  neap_values_close(from);
  neap_values_add_value(to, neap_values_at(from, 0));
  neap_values_free(from);
  CHECK(neap_values_error(to) == 0 && released == 0);
  const neap_value *list = neap_value_field(neap_values_at(to, 0), "list");
  CHECK(neap_value_count(list) == 2 && neap_value_number(neap_value_item(list, 0)) == 0.5);
  CHECK(neap_value_object(neap_value_item(list, 1), &one) == &object);
  neap_values_free(to);
  CHECK(released == 1);
}

TEST(a_loop_has_a_pointer_of_the_hosts) {
  bench b;
  neap_loop *loop = bench_open(&b);
  CHECK(neap_loop_data(loop) == NULL);
  neap_loop_set_data(loop, &b);
  CHECK(neap_loop_data(loop) == &b);
  bench_close_idle(&b);
}
