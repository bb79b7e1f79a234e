/* Tasks whose body is a step function in C; the declarations are in neap.h. */
#ifndef NEAP_STEP_H
#define NEAP_STEP_H

#include "neap.h"

#endif
