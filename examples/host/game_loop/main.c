/* A game whose own loop has frames, 60 in a second, and whose actors are async functions of a script.
 *   game_loop SCRIPT [--frames N] [--fast] [--skip]
 * --fast: as fast as it goes; the game's time is counted in frames, so the result is the same.
 * --skip: frames in which nothing is due are left out, as in a game that draws only what has changed. */
#include <neap/neaplua.h>

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double FRAME = 1.0 / 60;

typedef struct waiter waiter;

typedef struct game {
  neap_clock clock; /* the first: what neap gives to game_now */
  long frame;
  long run;        /* how many frames were not skipped */
  waiter *waiting; /* those that await the next frame */
} game;

/* The game's time stands still within a frame. */
static double game_now(neap_clock *clock) {
  return (double)((game *)clock)->frame * FRAME;
}

/* ---- game.next_frame() -> the number of the frame, when that begins ---------------------------- */

/* In the frame of the completion, which it keeps alive. */
struct waiter {
  neap_completion *call;
  waiter *next;
};

/* The loop has room for one pointer of the host's. */
static game *game_of(const neap_completion *call) {
  return (game *)neap_loop_data(neap_completion_loop(call));
}

static int next_frame(neap_completion *call, void *frame, const neap_values *arguments) {
  waiter *self = (waiter *)frame;
  game *g = game_of(call);
  (void)arguments;
  self->call = neap_completion_ref(call);
  self->next = g->waiting;
  g->waiting = self;
  return 0;
}

/* Cancelled: it leaves the list, and lets go of the completion, in whose memory it is. */
static void forget_frame(neap_completion *call, void *frame) {
  waiter *self = (waiter *)frame;
  for (waiter **place = &game_of(call)->waiting; *place; place = &(*place)->next) {
    if (*place != self) continue;
    *place = self->next;
    neap_completion_unref(self->call);
    return;
  }
}

static const neapL_function functions[] = {
    {.kind = {.name = "game.next_frame", .frame_size = sizeof(waiter), .cancel = forget_frame},
     .start = next_frame},
    {.kind = {.name = NULL}},
};

/* The last one who came is the first in the list: turned round, they are told in the order of their calls. */
static void begin_frame(game *g) {
  waiter *list = NULL;
  for (waiter *next; g->waiting; g->waiting = next) {
    next = g->waiting->next;
    g->waiting->next = list;
    list = g->waiting;
  }
  for (waiter *next; list; list = next) {
    neap_completion *call = list->call;
    next = list->next; /* the completion may be gone, once it is let go of */
    neap_values_add_integer(neap_completion_values(call), g->frame);
    neap_completion_end(call, NULL); /* runs no script: that is for neapL_poll */
    neap_completion_unref(call);
  }
}

static int open_game(lua_State *L) {
  lua_newtable(L);
  neapL_register(L, functions);
  lua_pushnumber(L, FRAME);
  lua_setfield(L, -2, "FRAME");
  return 1;
}

/* ---- The main loop ----------------------------------------------------------------------------- */

typedef struct settings {
  const char *script;
  long frames;
  bool is_fast, skips;
} settings;

/* The next frame in which there is something to do. */
static long next_frame_of(lua_State *L, const game *g, const settings *set) {
  double due = set->skips && !g->waiting ? neapL_due(L) : 0; /* of the game's time */
  double skipped = due / FRAME - 1e-6;
  double most = (double)(set->frames - g->frame) - 1;
  return g->frame + 1 + (long)(skipped < most ? skipped : most);
}

/* What is left of the frame belongs to I/O, which is taken when it arrives, and may ask for another frame. */
static long wait_for_frame(lua_State *L, const game *g, const settings *set, double begin) {
  for (;;) {
    long next = next_frame_of(L, g, set);
    double left = begin + (double)next * FRAME - (double)uv_hrtime() / 1e9;
    if (left <= 0 || set->is_fast) return next;
    neapL_poll(L, left);
  }
}

static void run_frames(lua_State *L, game *g, const settings *set, const neap_task *task) {
  double begin = (double)uv_hrtime() / 1e9;
  while (neap_task_status(task) == NEAP_PENDING && g->frame < set->frames) {
    g->frame = wait_for_frame(L, g, set, begin);
    g->run++;
    begin_frame(g);
    neapL_poll(L, 0); /* the actors' turn */
    /* Here a game moves its world and draws it. */
  }
}

/* Cancelled, the script ends what it has started. */
static void end_task(lua_State *L, neap_task *task) {
  neap_task_cancel(task);
  neapL_wait(L, task, 1);
}

static int show(lua_State *L, const game *g, neap_task *task) {
  const neap_error *error = neap_task_error(task);
  if (error) {
    fprintf(stderr, "game_loop: %s\n%s\n", error->message, error->traceback);
    return 1;
  }
  if (neap_task_status(task) == NEAP_CANCELLED) {
    printf("cut short after %ld frames\n", g->frame);
    return 0;
  }
  if (neapL_push_results(L, task) < 1) return 1;
  printf("%s\n%ld frames, %ld of them run\n", luaL_tolstring(L, 1, NULL), g->frame, g->run);
  return 0;
}

/* (game, settings) -> exit status; protected */
static int run(lua_State *L) {
  game *g = (game *)lua_touserdata(L, 1);
  const settings *set = (const settings *)lua_touserdata(L, 2);
  neapL_options options = {0};
  neap_task *task;
  options.clock = &g->clock;
  luaL_openlibs(L);
  if (neapL_open(L, &options)) return lua_error(L);
  neap_loop_set_data(neapL_loop(L), g);
  neapL_preload(L, "game", open_game);
  if (luaL_loadfile(L, set->script) != LUA_OK) return lua_error(L);
  lua_call(L, 0, 0);
  int code = neapL_call(L, "main", NULL, &task);
  if (code) return luaL_error(L, "%s", neap_error_message(code));
  run_frames(L, g, set, task);
  end_task(L, task);
  lua_settop(L, 0);
  int status = show(L, g, task);
  neap_task_unref(task);
  lua_pushinteger(L, status);
  return 1;
}

int main(int argc, char **argv) {
  game g = {{game_now, NULL}, 0, 0, NULL};
  settings set = {argc > 1 ? argv[1] : "game.lua", 600, false, false};
  for (int i = 2; i < argc; i++) {
    if (strcmp(argv[i], "--fast") == 0) set.is_fast = true;
    if (strcmp(argv[i], "--skip") == 0) set.skips = true;
    if (strcmp(argv[i], "--frames") == 0 && i + 1 < argc) set.frames = atol(argv[++i]);
  }
  lua_State *L = luaL_newstate();
  if (!L) return 1;
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, &g);
  lua_pushlightuserdata(L, &set);
  int status = 1;
  if (lua_pcall(L, 2, 1, 0) == LUA_OK)
    status = (int)lua_tointeger(L, -1);
  else
    fprintf(stderr, "game_loop: %s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return status;
}
