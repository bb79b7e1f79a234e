#include "primes.h"

#include <stdbool.h>
#include <stddef.h>

static bool is_prime(int64_t n) {
  for (int64_t i = 2; i * i <= n; i++)
    if (n % i == 0) return false;
  return n > 1;
}

int primes_count(primes_job *job, int64_t limit, void (*progress)(void *user, double share),
                 void *user, int64_t *count) {
  *count = 0;
  if (limit > 100000000) return PRIMES_TOO_MANY;
  for (int64_t n = 2, step = limit / 10 + 1; n < limit; n++) {
    if (__atomic_load_n(&job->is_stopped, __ATOMIC_RELAXED)) return PRIMES_STOPPED;
    if (is_prime(n)) ++*count;
    if (progress && n % step == 0) progress(user, (double)n / (double)limit);
  }
  return PRIMES_OK;
}

void primes_stop(primes_job *job) {
  __atomic_store_n(&job->is_stopped, 1, __ATOMIC_RELAXED);
}
