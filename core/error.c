#include "neap.h"

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
  default: return "UNKNOWN";
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
  default: return "unknown error";
  }
}
