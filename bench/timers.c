/* The limit of sleeping: N libuv timers without coroutines. `timers N FIRST SPREAD`, in seconds,
 * as bench/sleepers.lua; `timers version` prints libuv's version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uv.h>

static double cpu_time(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Bytes, 0 where the system does not say. */
static double resident(const char *key) {
  char line[256];
  double kib = 0;
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) return 0;
  while (fgets(line, sizeof line, file))
    if (strncmp(line, key, strlen(key)) == 0) kib = atof(line + strlen(key));
  fclose(file);
  return kib * 1024;
}

static void on_timeout(uv_timer_t *timer) {
  uv_close((uv_handle_t *)timer, (uv_close_cb)free);
}

static void start_timer(uv_loop_t *loop, double seconds) {
  uv_timer_t *timer = malloc(sizeof *timer);
  if (!timer) exit(1);
  uv_timer_init(loop, timer);
  uv_timer_start(timer, on_timeout, (uint64_t)(seconds * 1000), 0);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "version") == 0) return puts(uv_version_string()) < 0;
  if (argc != 4) return 2;
  long n = atol(argv[1]);
  double first = atof(argv[2]), spread = atof(argv[3]);
  uv_loop_t *loop = uv_default_loop();
  double before = resident("VmRSS:"), start = cpu_time();
  for (long i = 1; i <= n; i++)
    start_timer(loop, first + (double)(i * 7919 % 1000) / 1000 * spread);
  printf("start %.3f\n", (cpu_time() - start) / (double)n);
  uv_run(loop, UV_RUN_DEFAULT);
  printf("start_fire %.3f\n", (cpu_time() - start) / (double)n);
  if (before > 0) printf("bytes %.3f\n", (resident("VmHWM:") - before) / (double)n);
  return 0;
}
