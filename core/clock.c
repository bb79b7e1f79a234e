#include "clock.h"

#include <math.h>

double neap__clock_monotonic(neap_clock *clock) {
  (void)clock;
  return (double)uv_hrtime() / 1e9;
}

static double virtual_now(neap_clock *clock) {
  return ((neap_virtual_clock *)clock)->time;
}

static bool virtual_idle(neap_clock *clock, double deadline) {
  neap_virtual_clock *self = (neap_virtual_clock *)clock;
  if (deadline == HUGE_VAL || deadline > self->horizon) return false;
  if (deadline > self->time) self->time = deadline;
  return true;
}

void neap_virtual_clock_init(neap_virtual_clock *clock, double time) {
  *clock = (neap_virtual_clock){{virtual_now, virtual_idle}, time, HUGE_VAL};
}
