/* Errors whose strings are kept. */
#ifndef NEAP_ERROR_H
#define NEAP_ERROR_H

#include "neap.h"

/* Copies an error with its strings, which are in *texts then, from malloc; without memory for them only the
 * code. A cause is not copied. Thread: any. */
void neap__error_copy(neap_error *to, const neap_error *from, char **texts);

#endif
