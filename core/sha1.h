/* SHA-1, for what a protocol asks it for: no protection against anybody. Needs no library. */
#ifndef NEAP_SHA1_H
#define NEAP_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { NEAP__SHA1_SIZE = 20 };

/* The digest of n bytes, which are all in one piece. */
void neap__sha1(const void *bytes, size_t n, uint8_t digest[NEAP__SHA1_SIZE]);

#endif
