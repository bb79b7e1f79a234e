#include "neap.h"

#include <errno.h>

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
