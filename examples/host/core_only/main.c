/* neap in C, without Lua: reads files at the same time, for a second at most.
 *   core_only [FILE...] */
#include <neap/neap.h>

#include <stdio.h>

enum { MOST = 16 };

/* What a C# compiler would keep of an async method: its variables, and where it goes on. */
typedef struct reading {
  neap_loop *loop;
  char **paths;
  size_t count;
  int place;
  neap_scope *scope;
  neap_task *reads[MOST];
  neap_task *all;
} reading;

static void print_file(const char *path, const neap_task *read) {
  size_t size;
  const neap_error *error = neap_task_error(read);
  if (neap_task_status(read) == NEAP_DONE && neap_fs_data(read, &size))
    printf("%s: %zu bytes\n", path, size);
  else
    printf("%s: %s\n", path, error ? neap_error_message(error->code) : "not within a second");
}

static int start_reads(neap_task *self, reading *frame) {
  int code = neap_scope_enter(self, 1.0, false, &frame->scope);
  for (size_t i = 0; i < frame->count && !code; i++)
    code = neap_fs_read_file(frame->loop, frame->paths[i], &frame->reads[i]);
  return code ? code : neap_all(frame->loop, frame->reads, frame->count, &frame->all);
}

static neap_step_result read_files(neap_task *self, void *data) {
  reading *frame = (reading *)data;
  if (frame->place == 0) {
    neap_error error = {0};
    frame->place = 1;
    error.code = start_reads(self, frame);
    if (error.code)
      neap_task_fail(self, &error);
    else if (neap_task_await(self, frame->all))
      return NEAP_STEP_WAIT;
  }
  /* Leaving the scope waits for what is still in it. */
  if (frame->scope && neap_scope_exit(self, frame->scope)) return NEAP_STEP_WAIT;
  for (size_t i = 0; i < frame->count && frame->reads[i]; i++)
    print_file(frame->paths[i], frame->reads[i]);
  return NEAP_STEP_END;
}

static void release(void *data) {
  reading *frame = (reading *)data;
  for (size_t i = 0; i < frame->count; i++)
    if (frame->reads[i]) neap_task_unref(frame->reads[i]);
  if (frame->all) neap_task_unref(frame->all);
}

static const neap_body body = {"read_files", sizeof(reading), read_files, release};

static int run(neap_loop *loop, char **paths, size_t count) {
  neap_task *task;
  reading frame = {0};
  frame.loop = loop;
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
