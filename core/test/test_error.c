#include "support.h"

#include <errno.h>

TEST(codes_of_neap_have_names_and_messages) {
  CHECK(strcmp(neap_error_name(NEAP_ECANCELLED), "ECANCELLED") == 0);
  CHECK(strcmp(neap_error_name(NEAP_EMISUSE), "EMISUSE") == 0);
  CHECK(strcmp(neap_error_name(NEAP_EDEADLOCK), "EDEADLOCK") == 0);
  CHECK(strcmp(neap_error_name(NEAP_ECLOSED), "ECLOSED") == 0);
  CHECK(strcmp(neap_error_message(NEAP_ECLOSED), "it is closed") == 0);
}

TEST(codes_of_libuv_have_names_and_messages) {
  CHECK(strcmp(neap_error_name(UV_ENOENT), "ENOENT") == 0);
  CHECK(strcmp(neap_error_message(UV_ENOENT), uv_strerror(UV_ENOENT)) == 0);
  CHECK(strcmp(neap_error_name(UV_EOF), "EOF") == 0);
}

TEST(every_code_of_libuv_has_the_name_that_libuv_gives) {
#define CHECK_NAME(name, message)                                                                  \
  CHECK(strcmp(neap_error_name(UV_##name), uv_err_name(UV_##name)) == 0);                          \
  CHECK(strcmp(neap_error_message(UV_##name), uv_strerror(UV_##name)) == 0);
  UV_ERRNO_MAP(CHECK_NAME)
#undef CHECK_NAME
}

TEST(codes_of_the_system_that_libuv_lacks_have_names_and_messages) {
  CHECK(strcmp(neap_error_name(-EDQUOT), "EDQUOT") == 0);
  CHECK(strcmp(neap_error_message(-EDQUOT), "disk quota exceeded") == 0);
  CHECK(strcmp(neap_error_name(-ESTALE), "ESTALE") == 0);
}

TEST(numbers_that_are_no_code_are_unknown) {
  CHECK(strcmp(neap_error_name(0), "UNKNOWN") == 0);
  CHECK(strcmp(neap_error_name(1), "UNKNOWN") == 0);
  CHECK(strcmp(neap_error_name(-123456), "UNKNOWN") == 0);
  CHECK(neap_error_message(-123456) != NULL);
}

TEST(codes_of_neap_do_not_collide_with_those_of_libuv) {
  char text[64]; /* uv_err_name would leak its answer for a number that it does not know */
#define CHECK_CODE(name, number, message)                                                          \
  CHECK(strncmp(uv_err_name_r(number, text, sizeof text), "Unknown", 7) == 0);
  NEAP_ERROR_CODES(CHECK_CODE)
#undef CHECK_CODE
}
