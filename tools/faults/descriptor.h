/* What a descriptor is, as far as its faults depend on it. Thread: any. */
#ifndef FAULTS_DESCRIPTOR_H
#define FAULTS_DESCRIPTOR_H

#include <stdbool.h>

/* PRIVATE: libuv's own (epoll, eventfd, the pipe of its signal handlers), and what is unknown. It is
 * left alone: libuv aborts the process when these fail, and no kernel makes them fail. */
enum faults_kind { PRIVATE, A_FILE, A_STREAM, PACKETS, A_PIPE, KIND_COUNT };

enum faults_kind faults_kind_of(int fd);
bool faults_is_nonblocking(int fd);

/* Both directions of a stream have ended. */
bool faults_has_hung_up(int fd);

/* The pipe is libuv's own if libuv's code has made it. */
void faults_note_pipe(int fd, const void *caller);

#endif
