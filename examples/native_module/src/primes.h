/* A made-up library whose calls block. It knows nothing of neap. */
#ifndef PRIMES_H
#define PRIMES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One count, zeroed at first. */
typedef struct primes_job {
  int is_stopped; /* the library's; atomic */
} primes_job;

enum { PRIMES_OK, PRIMES_STOPPED, PRIMES_TOO_MANY };

/* Counts the primes below `limit`, 10^8 at most. Calls `progress` (may be NULL) now and then, with the share that
 * is done. */
int primes_count(primes_job *job, int64_t limit, void (*progress)(void *user, double share),
                 void *user, int64_t *count);

/* Lets it return PRIMES_STOPPED soon, also where it has not begun. Any thread may call it. */
void primes_stop(primes_job *job);

#ifdef __cplusplus
}
#endif

#endif
