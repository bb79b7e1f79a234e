/* Load for an echo server: echo_load CONNECTIONS SIZE OUTSTANDING SECONDS SERVER [ARGS...]
 *
 * Starts the server on core 0, reads `port N` from its output, and from core 1 keeps so many
 * messages of SIZE bytes under way on each connection: when one has come back the next one goes
 * out. Prints messages/s, megabytes/s, latencies and the CPU time of the server for a message. */
#include <stdio.h>

#ifndef __linux__
int main(void) {
  fputs("echo_load is written on epoll\n", stderr);
  return 1;
}
#else

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, SUB = 64, BUCKETS = 64 * SUB, CHUNK = 64 * 1024, RECEIVED = 256 * 1024 };

typedef struct connection {
  int fd;
  uint64_t sent, received; /* bytes */
  uint64_t *sent_at;       /* when each message that is under way began */
} connection;

static const double WARM_UP = 0.3; /* seconds */

static pid_t server;
static uint64_t histogram[BUCKETS], requests, bytes;
static uint64_t size, outstanding;
static char data[CHUNK], received[RECEIVED];

static void fail(const char *what) {
  perror(what);
  if (server > 0) kill(server, SIGKILL);
  exit(1);
}

static uint64_t clock_ns(clockid_t id) {
  struct timespec time;
  if (clock_gettime(id, &time)) return 0;
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t now(void) {
  return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t server_cpu(void) {
  clockid_t id;
  return clock_getcpuclockid(server, &id) ? 0 : clock_ns(id);
}

/* Where there is only one core, both stay where they are. */
static void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sysconf(_SC_NPROCESSORS_ONLN) > 1) sched_setaffinity(0, sizeof set, &set);
}

/* ---- Latencies: buckets of a sixty-fourth of a power of two ---------------------------------- */

static int bucket_of(uint64_t ns) {
  if (ns < SUB) return (int)ns;
  int exponent = 63 - __builtin_clzll(ns);
  return (exponent - 5) * SUB + (int)((ns >> (exponent - 6)) & (SUB - 1));
}

static double value_of(int bucket) {
  if (bucket < SUB) return bucket;
  int exponent = bucket / SUB + 5;
  return (double)((1ull << exponent) + ((uint64_t)(bucket % SUB) << (exponent - 6)));
}

static double percentile(double part) {
  uint64_t wanted = (uint64_t)((double)requests * part), seen = 0;
  for (int i = 0; i < BUCKETS; i++)
    if ((seen += histogram[i]) > wanted) return value_of(i) / 1e3;
  return 0;
}

/* ---- The server ----------------------------------------------------------------------------- */

static int start_server(char **command) {
  int ends[2], port = 0;
  if (pipe(ends)) fail("pipe");
  server = fork();
  if (server < 0) fail("fork");
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execvp(command[0], command);
    _exit(127);
  }
  close(ends[1]);
  FILE *output = fdopen(ends[0], "r");
  if (!output || fscanf(output, "port %d", &port) != 1) fail("no port from the server");
  return port;
}

/* ---- The load ------------------------------------------------------------------------------- */

/* The messages that begin among the bytes from `self->sent` to `end`. */
static void stamp(connection *self, uint64_t end, uint64_t time) {
  uint64_t first = (self->sent + size - 1) / size;
  for (uint64_t i = first; i * size < end; i++) self->sent_at[i % outstanding] = time;
}

/* Sends what may be under way, as far as the socket takes it. */
static void fill(connection *self) {
  uint64_t end = (self->received / size + outstanding) * size;
  while (self->sent < end) {
    size_t length = end - self->sent < CHUNK ? (size_t)(end - self->sent) : CHUNK;
    uint64_t time = now();
    ssize_t n = send(self->fd, data, length, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) fail("send");
    stamp(self, self->sent + (uint64_t)n, time);
    self->sent += (uint64_t)n;
  }
}

static void open_connection(connection *self, int port, int poll) {
  int yes = 1;
  struct sockaddr_in name = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  self->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(self->fd, (const struct sockaddr *)&name, sizeof name)) fail("connect");
  setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  fcntl(self->fd, F_SETFL, O_NONBLOCK);
  self->sent_at = calloc(outstanding, sizeof *self->sent_at);
  if (!self->sent_at) fail("calloc");
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = self};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, self->fd, &event)) fail("epoll_ctl");
}

static void count(connection *self, uint64_t n) {
  uint64_t first = self->received / size, end = (self->received + n) / size, time = now();
  for (uint64_t i = first; i < end; i++)
    histogram[bucket_of(time - self->sent_at[i % outstanding])]++;
  requests += end - first;
  bytes += n;
  self->received += n;
  if (self->received > self->sent) fail("the server has sent more than it got");
}

/* Long messages are dropped by the kernel: copying them would only burden the load. */
static void on_event(connection *self) {
  int flags = size < CHUNK ? 0 : MSG_TRUNC;
  ssize_t n;
  do {
    n = recv(self->fd, received, RECEIVED, flags);
    if (n == 0 || (n < 0 && errno != EAGAIN)) fail("the server has closed");
    if (n > 0) count(self, (uint64_t)n);
  } while (n == RECEIVED);
  fill(self);
}

static void load_for(int poll, double seconds) {
  struct epoll_event events[EVENTS];
  uint64_t end = now() + (uint64_t)(seconds * 1e9);
  while (now() < end) {
    int n = epoll_wait(poll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) on_event(events[i].data.ptr);
  }
}

static void report(double seconds, double server_ns, double load_ns) {
  printf("requests %.1f\nmegabytes %.2f\n", (double)requests / seconds,
         (double)bytes / seconds / 1e6);
  printf("p50 %.2f\np99 %.2f\n", percentile(.5), percentile(.99));
  printf("server_busy %.3f\n", server_ns / 1e9 / seconds);
  printf("server_cpu %.2f\n", server_ns / (double)requests);
  printf("load_busy %.3f\n", load_ns / 1e9 / seconds);
}

static void measure(int poll, double seconds) {
  load_for(poll, WARM_UP);
  memset(histogram, 0, sizeof histogram);
  requests = bytes = 0;
  uint64_t start = now(), server_start = server_cpu();
  uint64_t load_start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  load_for(poll, seconds);
  report((double)(now() - start) / 1e9, (double)(server_cpu() - server_start),
         (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - load_start));
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  int connected = atoi(argv[1]);
  size = strtoull(argv[2], NULL, 10);
  outstanding = strtoull(argv[3], NULL, 10);
  if (connected < 1 || size < 1 || outstanding < 1) return 2;
  int port = start_server(argv + 5), poll = epoll_create1(0);
  connection *connections = calloc((size_t)connected, sizeof *connections);
  if (!connections) fail("calloc");
  pin(1);
  memset(data, 'x', sizeof data);
  for (int i = 0; i < connected; i++) open_connection(&connections[i], port, poll);
  for (int i = 0; i < connected; i++) fill(&connections[i]);
  measure(poll, atof(argv[4]));
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
  return 0;
}

#endif
