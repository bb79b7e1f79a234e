/*
** The frame of a C test: one source, one executable.
**
**   TEST(a_fresh_loop_is_empty) {
**     if (!CHECK(loop != NULL)) return;
**   }
**
** Tests register themselves, in the order of the file. CHECK does not leave the test, for it may
** stand inside a libuv callback; it tells whether it held. `main` prints `ok NAME` or `not ok NAME:
** why` for each test, then `1..COUNT`; arguments choose tests by a part of their names.
*/
#ifndef NEAP_TEST_H
#define NEAP_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct test_case {
  const char *name;
  void (*body)(void);
  struct test_case *next;
} test_case;

static test_case *test_first;
static test_case **test_last = &test_first;
static char test_why[1024]; /* the first check of the running test that did not hold */

static void test_register(test_case *test) {
  *test_last = test;
  test_last = &test->next;
}

#define TEST(NAME)                                                                                 \
  static void NAME(void);                                                                          \
  __attribute__((constructor)) static void register_##NAME(void) {                                 \
    static test_case test = {#NAME, NAME, NULL};                                                   \
    test_register(&test);                                                                          \
  }                                                                                                \
  static void NAME(void)

#define CHECK(COND) test_check((COND), #COND, __FILE__, __LINE__)

static inline bool test_check(bool holds, const char *what, const char *file, int line) {
  if (!holds && test_why[0] == '\0')
    snprintf(test_why, sizeof test_why, "%s:%d: %s", file, line, what);
  return holds;
}

static bool test_run(const test_case *test) {
  test_why[0] = '\0';
  test->body();
  if (test_why[0] == '\0')
    printf("ok %s\n", test->name);
  else
    printf("not ok %s: %s\n", test->name, test_why);
  return test_why[0] == '\0';
}

static bool test_is_chosen(const test_case *test, char **parts) {
  if (*parts == NULL) return true;
  for (; *parts != NULL; parts++)
    if (strstr(test->name, *parts) != NULL) return true;
  return false;
}

int main(int argc, char **argv) {
  bool all_hold = true;
  int count = 0;
  (void)argc;
  setvbuf(stdout, NULL, _IOLBF,
          BUFSIZ); /* what is known is printed, even if the next test crashes */
  for (const test_case *test = test_first; test != NULL; test = test->next)
    if (test_is_chosen(test, argv + 1)) all_hold &= test_run(test), count++;
  printf("1..%d\n", count); /* the proof that it got here */
  return all_hold ? 0 : 1;
}

#endif
