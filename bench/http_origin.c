/* Runs a client against an HTTP server that costs next to nothing: http_origin COMMAND..., to which the
 * port is added. The server is on core 0, the command on core 1. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

enum { SIZE = 64 * 1024, BACKLOG = 1024 };

static const char response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 13\r\n\r\nHello, World!";

static char block[SIZE];

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)handle;
  (void)suggested;
  *buffer = uv_buf_init(block, SIZE);
}

static void on_closed(uv_handle_t *handle) {
  free(handle);
}

/* Requests come whole and one at a time: the clients are known. */
static void on_read(uv_stream_t *conn, ssize_t n, const uv_buf_t *buffer) {
  (void)buffer;
  uv_buf_t out = uv_buf_init((char *)(uintptr_t)response, sizeof response - 1);
  if (n > 0 && uv_try_write(conn, &out, 1) == (int)out.len) return;
  if (n != 0) uv_close((uv_handle_t *)conn, on_closed);
}

static void on_connection(uv_stream_t *server, int status) {
  uv_tcp_t *conn = malloc(sizeof *conn);
  if (status || !conn) exit(1);
  uv_tcp_init(server->loop, conn);
  if (uv_accept(server, (uv_stream_t *)conn)) exit(1);
  uv_tcp_nodelay(conn, 1);
  uv_read_start((uv_stream_t *)conn, on_allocate, on_read);
}

static void use_core(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  sched_setaffinity(0, sizeof cores, &cores);
}

static int port_of(const uv_tcp_t *server) {
  struct sockaddr_in name;
  int length = sizeof name;
  uv_tcp_getsockname(server, (struct sockaddr *)&name, &length);
  return ntohs(name.sin_port);
}

static void run_client(char **argv, int port) {
  char text[16];
  int n = 0;
  while (argv[n]) n++;
  char **command = calloc((size_t)n + 2, sizeof *command);
  if (!command) exit(1);
  memcpy(command, argv, (size_t)n * sizeof *command);
  snprintf(text, sizeof text, "%d", port);
  command[n] = text;
  use_core(1);
  execvp(command[0], command);
  exit(127);
}

int main(int argc, char **argv) {
  uv_tcp_t server;
  struct sockaddr_in address;
  if (argc < 2) return 2;
  signal(SIGPIPE, SIG_IGN);
  uv_tcp_init(uv_default_loop(), &server);
  uv_ip4_addr("127.0.0.1", 0, &address);
  if (uv_tcp_bind(&server, (struct sockaddr *)&address, 0)) return 1;
  if (uv_listen((uv_stream_t *)&server, BACKLOG, on_connection)) return 1;
  int status = 0, port = port_of(&server);
  pid_t serving = fork();
  if (serving == 0) {
    use_core(0);
    uv_loop_fork(uv_default_loop());
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  }
  pid_t client = fork();
  if (client == 0) run_client(argv + 1, port);
  waitpid(client, &status, 0);
  kill(serving, SIGKILL);
  waitpid(serving, NULL, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
