/* How child processes come about. */
#ifndef NEAP_OPS_SPAWN_H
#define NEAP_OPS_SPAWN_H

#include "process.h"

/* What a standard stream of a child is. */
typedef enum neap__channel_kind {
  NEAP__CHANNEL_NULL,    /* /dev/null */
  NEAP__CHANNEL_PIPE,    /* a new pipe, whose other end is ours */
  NEAP__CHANNEL_INHERIT, /* the same as ours */
  NEAP__CHANNEL_STDOUT,  /* of stderr: the same as the child's stdout */
  NEAP__CHANNEL_LOAN     /* an open file or stream */
} neap__channel_kind;

typedef struct neap__channel {
  neap__channel_kind kind;
  neap__loan loan;
  int child_fd; /* the child's end, while it is spawned; -1: none */
  bool is_own;  /* it is ours to close */
} neap__channel;

/* Starts a child in the loop's thread: fork and exec, about a millisecond. What cannot be executed is its
 * error. Arguments: all below; results: process and pipes, see _take. */
typedef struct neap__spawn {
  neap__op op;
  char **args; /* own, in one block with the strings; NULL behind the last */
  char **env;  /* the same; NULL: as ours */
  char *cwd;   /* own; NULL: ours */
  neap__channel channels[NEAP__STANDARD_STREAMS];
  int uid, gid; /* -1: as ours */
  bool leads_group, is_detached;
  double grace;
  neap__process *process;
  neap__stream *pipes[NEAP__STANDARD_STREAMS];
} neap__spawn;

extern const neap__op_kind neap__spawn_kind;

/* The process and our ends of its pipes, NULL where there is none; the caller owns a reference to each.
 * Once. */
neap__process *neap__spawn_take(neap__spawn *self, neap__stream *pipes[NEAP__STANDARD_STREAMS]);

#endif
