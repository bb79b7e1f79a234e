/* Below the limit of bench/processes.lua: posix_spawn and waitpid, with no pipes. */
#define _POSIX_C_SOURCE 200809L
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum { PROCESSES = 200, AT_ONCE = 16, WARM_UP = 20 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void start_child(void) {
  static char path[] = "/bin/true";
  char *args[] = {path, NULL};
  pid_t pid;
  if (posix_spawn(&pid, path, NULL, NULL, args, environ)) exit(1);
}

static void reap_child(void) {
  int status;
  if (wait(&status) < 0 || status) exit(1);
}

/* Microseconds for each. */
static double run(int count, int at_once) {
  double start = now();
  for (int i = 0; i < count; i++) {
    if (i >= at_once) reap_child();
    start_child();
  }
  for (int i = 0; i < at_once; i++) reap_child();
  return (now() - start) / count;
}

int main(void) {
  run(WARM_UP, 1);
  printf("one_by_one %.3f\n", run(PROCESSES, 1));
  printf("together %.3f\n", run(PROCESSES, AT_ONCE));
  return 0;
}
