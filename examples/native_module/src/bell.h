/* A made-up library that calls back, from a thread of its own. It knows nothing of neap. */
#ifndef BELL_H
#define BELL_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* It counts its references, for any thread: who needs it has one. */
typedef struct bell bell;

/* With one reference, the caller's; NULL: no memory, or no thread. */
bell *bell_new(void);
bell *bell_ref(bell *self);
/* With the last one, which may be dropped from within a callback, it is gone. */
void bell_unref(bell *self);

/* Calls fn(user, strokes) in some seconds, once, on the bell's thread. Returns the number of the ring; 0: no
 * memory. */
int bell_ring(bell *self, double seconds, void (*fn)(void *user, int strokes), void *user);

/* True: it will not be called. False: it was called, or is about to be. */
bool bell_forget(bell *self, int number);

#ifdef __cplusplus
}
#endif

#endif
