#include "process_group.h"

#include "syscall.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

/* "pid (name) state parent group ...": the name may hold anything. */
static bool is_living_member(const char *pid, int group) {
  char path[64], text[512];
  char state = 'X';
  int parent, its_group = 0;
  snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
  int fd = neap__open(path, O_RDONLY, 0);
  if (fd < 0) return false; /* it has ended meanwhile */
  ssize_t n = neap__fd_read(fd, text, sizeof text - 1);
  close(fd);
  text[n < 0 ? 0 : n] = '\0';
  const char *end = strrchr(text, ')');
  if (!end || sscanf(end + 1, " %c %d %d", &state, &parent, &its_group) != 3) return false;
  return its_group == group && state != 'Z' && state != 'X';
}

/* Those who have ended but were not reaped belong to it, too: where nobody reaps orphans, as in many a
 * container, they stay for ever. Only /proc tells them apart. */
static bool has_living_member(int group) {
  DIR *processes = opendir("/proc");
  if (!processes) return true; /* nobody can tell */
  bool is_found = false;
  for (const struct dirent *entry; !is_found && (entry = readdir(processes));)
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
      is_found = is_living_member(entry->d_name, group);
  closedir(processes);
  return is_found;
}

bool neap__group_lives(int group) {
  bool is_number_used_again = kill(group, 0) == 0 || errno == EPERM;
  if (is_number_used_again || kill(-group, 0)) return false;
  return has_living_member(group);
}
