/* neap in C, without Lua: reads files at the same time, for a second at most.
 *   core_only [FILE...] */
#include <neap/neap.h>

#include <stdio.h>

enum { MOST = 16 };

/* What a C# compiler would keep of an async method: its variables. neap keeps the place where it goes on. */
typedef struct reading {
  char **paths;
  size_t count;
  neap_task *reads[MOST];
} reading;

static int start_reads(neap_loop *loop, reading *frame, neap_task **all) {
  int code = 0;
  for (size_t i = 0; i < frame->count && !code; i++)
    code = neap_fs_read_file(loop, frame->paths[i], &frame->reads[i]);
  return code ? code : neap_all(loop, frame->reads, frame->count, all);
}

/* The scope is left when the body ends: out of time, it cancels what still reads, and fails the task. */
static neap_step_result read_files(neap_task *self, void *data) {
  reading *frame = (reading *)data;
  neap_scope *scope;
  neap_task *all = NULL;
  if (neap_task_place(self) > 0) return NEAP_STEP_END;
  int code = neap_scope_enter(self, 1.0, false, &scope);
  if (!code) code = start_reads(neap_task_loop(self), frame, &all);
  return neap_await(self, code, &all, 1);
}

static void print_file(const char *path, const neap_task *read) {
  size_t size;
  const neap_error *error = neap_task_error(read);
  if (neap_task_status(read) == NEAP_DONE && neap_fs_data(read, &size))
    printf("%s: %zu bytes\n", path, size);
  else
    printf("%s: %s\n", path, error ? neap_error_message(error->code) : "not within a second");
}

/* As `finally`: however the body has ended. */
static neap_step_result print_files(neap_task *self, void *data) {
  const reading *frame = (const reading *)data;
  (void)self;
  for (size_t i = 0; i < frame->count && frame->reads[i]; i++)
    print_file(frame->paths[i], frame->reads[i]);
  return NEAP_STEP_END;
}

static void release(void *data) {
  const reading *frame = (const reading *)data;
  for (size_t i = 0; i < frame->count; i++)
    if (frame->reads[i]) neap_task_unref(frame->reads[i]);
}

static const neap_body body = {"read_files", sizeof(reading), read_files, release, print_files};

static int run(neap_loop *loop, char **paths, size_t count) {
  neap_task *task;
  reading frame = {0};
  frame.paths = paths;
  frame.count = count;
  int code = neap_task_start(loop, &body, &frame, &task);
  if (code) return code;
  code = neap_loop_run(loop, task);
  if (!code && neap_task_status(task) == NEAP_FAILED) code = neap_task_error(task)->code;
  neap_task_unref(task);
  return code;
}

int main(int argc, char **argv) {
  neap_loop *loop;
  if (argc > MOST) argc = MOST;
  int code = neap_loop_new(NULL, &loop);
  if (code) return 1;
  /* Without arguments, this program itself. */
  code = argc > 1 ? run(loop, argv + 1, (size_t)argc - 1) : run(loop, argv, 1);
  neap_loop_close(loop);
  if (code) fprintf(stderr, "core_only: %s\n", neap_error_message(code));
  return code ? 1 : 0;
}
