/* Load for an echo server: echo_load CONNECTIONS SECONDS SERVER [ARGS...]
 *
 * Starts the server on core 0, reads `port N` from its output, and from core 1 sends 64 bytes on
 * each connection and waits for their echo, over and over. Prints requests/s, latencies and the CPU
 * time of the server for a request. */
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

enum { SIZE = 64, EVENTS = 512, SUB = 64, BUCKETS = 64 * SUB };

typedef struct connection {
  int fd;
  size_t received; /* of the echo that is under way */
  uint64_t sent_at;
} connection;

static pid_t server;
static uint64_t histogram[BUCKETS], requests;
static char message[SIZE];

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

static void send_request(connection *self) {
  self->received = 0;
  self->sent_at = now();
  if (send(self->fd, message, SIZE, MSG_NOSIGNAL) != SIZE) fail("send");
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
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, self->fd, &event)) fail("epoll_ctl");
}

static void on_readable(connection *self) {
  char data[SIZE];
  ssize_t n = recv(self->fd, data, SIZE - self->received, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) fail("the server has closed");
  self->received += (size_t)n;
  if (self->received < SIZE) return;
  histogram[bucket_of(now() - self->sent_at)]++;
  requests++;
  send_request(self);
}

static void load_for(int poll, double seconds) {
  struct epoll_event events[EVENTS];
  uint64_t end = now() + (uint64_t)(seconds * 1e9);
  while (now() < end) {
    int n = epoll_wait(poll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) on_readable(events[i].data.ptr);
  }
}

static void report(double seconds, double cpu_ns) {
  printf("requests %.1f\n", (double)requests / seconds);
  printf("p50 %.2f\np99 %.2f\n", percentile(.5), percentile(.99));
  printf("server_busy %.3f\n", cpu_ns / 1e9 / seconds);
  printf("server_cpu %.2f\n", cpu_ns / (double)requests);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  int count = atoi(argv[1]);
  double seconds = atof(argv[2]);
  int port = start_server(argv + 3);
  int poll = epoll_create1(0);
  connection *connections = calloc((size_t)count, sizeof *connections);
  if (!connections) fail("calloc");
  pin(1);
  memset(message, 'x', sizeof message);
  for (int i = 0; i < count; i++) open_connection(&connections[i], port, poll);
  for (int i = 0; i < count; i++) send_request(&connections[i]);
  load_for(poll, 0.5);
  memset(histogram, 0, sizeof histogram);
  requests = 0;
  uint64_t start = now(), cpu = server_cpu();
  load_for(poll, seconds);
  report((double)(now() - start) / 1e9, (double)(server_cpu() - cpu));
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
  return 0;
}

#endif
