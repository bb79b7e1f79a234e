#include "ready.h"

void neap__ready_remove(neap__ready *ready, bool (*is_meant)(neap__runnable *, void *),
                        void *data) {
  neap__ready kept = {NULL, NULL};
  for (neap__runnable *runnable; (runnable = neap__ready_pop(ready));)
    if (!is_meant(runnable, data)) neap__ready_push(&kept, runnable);
  *ready = kept;
}
