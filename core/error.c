#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a system says and libuv has no name for: X(name, message). A libuv that has one wins. */
#define SYSTEM_CODES(X)                                                                            \
  X(EDQUOT, "disk quota exceeded")                                                                 \
  X(ESTALE, "stale file handle")                                                                   \
  X(ENOLCK, "no locks available")                                                                  \
  X(EBADMSG, "bad message")

static const char *system_name(int code) {
  switch (-code) {
#define NEAP_X(name, message)                                                                      \
  case name: return #name;
    SYSTEM_CODES(NEAP_X)
#undef NEAP_X
  default: return "UNKNOWN";
  }
}

static const char *system_message(int code) {
  switch (-code) {
#define NEAP_X(name, message)                                                                      \
  case name: return message;
    SYSTEM_CODES(NEAP_X)
#undef NEAP_X
  default: return "unknown error";
  }
}

const char *neap_error_name(int code) {
  switch (code) {
#define NEAP_X(name, number, message)                                                              \
  case number: return #name;
    NEAP_ERROR_CODES(NEAP_X)
#undef NEAP_X
#define NEAP_X(name, message)                                                                      \
  case UV_##name: return #name;
    UV_ERRNO_MAP(NEAP_X)
#undef NEAP_X
  default: return system_name(code);
  }
}

const char *neap_error_message(int code) {
  switch (code) {
#define NEAP_X(name, number, message)                                                              \
  case number: return message;
    NEAP_ERROR_CODES(NEAP_X)
#undef NEAP_X
#define NEAP_X(name, message)                                                                      \
  case UV_##name: return message;
    UV_ERRNO_MAP(NEAP_X)
#undef NEAP_X
  default: return system_message(code);
  }
}

int neap_error_code(const char *name) {
  static const struct {
    const char *name;
    int code;
  } codes[] = {
#define NEAP_X(name, number, message) {#name, (number)},
      NEAP_ERROR_CODES(NEAP_X)
#undef NEAP_X
#define NEAP_X(name, message) {#name, UV_##name},
          UV_ERRNO_MAP(NEAP_X)
#undef NEAP_X
#define NEAP_X(name, message) {#name, -(name)},
              SYSTEM_CODES(NEAP_X)
#undef NEAP_X
  };
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (strcmp(codes[i].name, name) == 0) return codes[i].code;
  return 0;
}

/* ---- Copies --------------------------------------------------------------------------------- */

static size_t room(const char *text) {
  return text ? strlen(text) + 1 : 0;
}

static const char *put(char **place, const char *text) {
  if (!text) return NULL;
  size_t size = room(text);
  char *copy = memcpy(*place, text, size);
  *place += size;
  return copy;
}

void neap__error_copy(neap_error *to, const neap_error *from, char **texts) {
  size_t size = room(from->name) + room(from->message) + room(from->traceback) +
                room(from->syscall) + room(from->path) + room(from->dest) + room(from->address) +
                room(from->url);
  char *place = *texts = size > 0 ? malloc(size) : NULL;
  *to = (neap_error){.code = from->code < 0 ? from->code : NEAP_EOTHER};
  if (!place) return;
  to->name = put(&place, from->name);
  to->message = put(&place, from->message);
  to->traceback = put(&place, from->traceback);
  to->syscall = put(&place, from->syscall);
  to->path = put(&place, from->path);
  to->dest = put(&place, from->dest);
  to->address = put(&place, from->address);
  to->url = put(&place, from->url);
}
