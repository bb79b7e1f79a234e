/*
** Runs a program in a terminal of its own, 100 columns by 40 rows: terminal COMMAND [ARGS]. What is typed
** comes from stdin, what the terminal shows goes to stdout, and when the program has ended, whether it has
** left the terminal in its usual mode. It exists for the specs.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int open_master(void) {
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  struct winsize size = {.ws_col = 100, .ws_row = 40};
  if (master < 0 || grantpt(master) || unlockpt(master)) return -1;
  ioctl(master, TIOCSWINSZ, &size);
  fcntl(master, F_SETFD, FD_CLOEXEC);
  return master;
}

/* In the child. */
static void run_program(const char *name, char **argv) {
  setsid();
  int terminal = open(name, O_RDWR);
  ioctl(terminal, TIOCSCTTY, 0);
  for (int i = 0; i < 3; i++) dup2(terminal, i);
  if (terminal > 2) close(terminal);
  signal(SIGINT, SIG_DFL);
  execvp(argv[0], argv);
  _exit(127);
}

/* False at the end of what comes. */
static bool copy(int from, int to) {
  char data[4096];
  ssize_t n = read(from, data, sizeof data);
  for (ssize_t done = 0; done < n;) {
    ssize_t written = write(to, data + done, (size_t)(n - done));
    if (written < 0) return false;
    done += written;
  }
  return n > 0 || (n < 0 && errno == EINTR);
}

/* Until the program and all that it has started have let the terminal go. */
static void serve(int master) {
  struct pollfd fds[] = {{.fd = master, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  for (;;) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[0].revents && !copy(master, 1)) return;
    if (fds[1].revents && !copy(0, master)) fds[1].fd = -1;
  }
}

int main(int argc, char **argv) {
  int status;
  struct termios mode;
  int master = open_master();
  if (argc < 2 || master < 0) return 2;
  pid_t child = fork();
  if (child == 0) run_program(ptsname(master), argv + 1);
  serve(master);
  waitpid(child, &status, 0);
  if (tcgetattr(master, &mode)) return 2;
  bool is_usual = (mode.c_lflag & ICANON) && (mode.c_lflag & ECHO);
  printf("the terminal is %s\n", is_usual ? "as usual" : "in another mode");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
