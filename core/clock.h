/* The clocks that come with neap. */
#ifndef NEAP_CLOCK_H
#define NEAP_CLOCK_H

#include "neap.h"

/* Seconds of the system's monotonic clock. */
double neap__clock_monotonic(neap_clock *clock);

#endif
