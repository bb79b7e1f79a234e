/* The limit of bench/files.lua: a loop that blocks. files_raw WORK FOLDER BYTES */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 10000, SIZE = 4096, CHUNK = 64 * 1024, PATH = 4096 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static long long read_file(const char *path) {
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status)) fail(path);
  char *data = malloc((size_t)status.st_size);
  ssize_t n = data ? read(fd, data, (size_t)status.st_size) : -1;
  if (n < 0) fail(path);
  free(data);
  close(fd);
  return n;
}

static long long write_file(const char *path) {
  char data[SIZE];
  memset(data, 'x', sizeof data);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  ssize_t n = fd < 0 ? -1 : write(fd, data, sizeof data);
  if (n < 0) fail(path);
  close(fd);
  return n;
}

static long long each_file(long long work(const char *path), const char *folder) {
  char path[PATH];
  long long total = 0;
  for (int i = 0; i < FILES; i++) {
    snprintf(path, sizeof path, "%s/%05d", folder, i);
    total += work(path);
  }
  return total;
}

static long long read_chunks(const char *folder) {
  static char data[CHUNK];
  char path[PATH];
  long long total = 0;
  ssize_t n;
  snprintf(path, sizeof path, "%s/big", folder);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path);
  while ((n = read(fd, data, sizeof data)) > 0) total += n;
  if (n < 0) fail(path);
  close(fd);
  return total;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  double start = now();
  long long total;
  if (strcmp(argv[1], "sequential") == 0)
    total = read_chunks(argv[2]);
  else
    total = each_file(strcmp(argv[1], "read") == 0 ? read_file : write_file, argv[2]);
  double seconds = now() - start;
  if (total != atoll(argv[3])) return fprintf(stderr, "%lld bytes\n", total);
  printf("file_us %.3f\n", seconds / FILES * 1e6);
  printf("megabytes %.3f\n", (double)total / seconds / 1e6);
  return 0;
}
