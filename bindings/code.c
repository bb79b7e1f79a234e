#include "code.h"

#include "message.h"
#include "transfer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct neapL__code {
  atomic_size_t references;
  uint64_t hash;
  size_t size, capacity;
  char bytes[];
};

/* What holds the reference of a function in the table of functions. */
typedef struct code_box {
  neapL__code *code;
  bool is_lent; /* the function may come back */
} code_box;

/* ---- The bytes ------------------------------------------------------------------------------ */

neapL__code *neapL__code_ref(neapL__code *code) {
  atomic_fetch_add_explicit(&code->references, 1, memory_order_relaxed);
  return code;
}

void neapL__code_release(neapL__code *code) {
  if (!code || atomic_fetch_sub_explicit(&code->references, 1, memory_order_acq_rel) > 1) return;
  free(code);
}

/* Eight bytes at a time: it is made once for each dump, and a dump has kilobytes. */
static uint64_t hash_of(const char *bytes, size_t size) {
  uint64_t hash = size;
  for (; size > 0;) {
    uint64_t word = 0;
    size_t step = size < sizeof word ? size : sizeof word;
    memcpy(&word, bytes, step);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    bytes += step;
    size -= step;
  }
  return hash;
}

static bool is_same(const neapL__code *a, const neapL__code *b) {
  if (!a || a == b) return a == b;
  return a->hash == b->hash && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

typedef struct dump {
  neapL__state *state;
  code_box *box;
} dump;

enum { SMALLEST_DUMP = 1024 };

static bool reserve(neapL__state *state, code_box *box, size_t size) {
  neapL__code *code = box->code;
  size_t capacity = code ? code->capacity : 0;
  if (code && size <= capacity) return true;
  capacity = size > capacity * 2 ? size : capacity * 2;
  if (capacity < SMALLEST_DUMP) capacity = SMALLEST_DUMP;
  neapL__code *grown = neapL__resize_block(state, code, sizeof *code + capacity);
  if (!grown) return false;
  if (!code) {
    atomic_init(&grown->references, 1);
    grown->size = 0;
  }
  grown->capacity = capacity;
  box->code = grown;
  return true;
}

static int append(lua_State *L, const void *piece, size_t size, void *data) {
  (void)L;
  const dump *self = data;
  if (size == 0) return 0;
  size_t before = self->box->code ? self->box->code->size : 0;
  if (!reserve(self->state, self->box, before + size)) return 1;
  memcpy(self->box->code->bytes + before, piece, size);
  self->box->code->size = before + size;
  return 0;
}

/* With line numbers and names, for tracebacks. */
static void dump_function(lua_State *L, neapL__state *state, code_box *box, int index) {
  dump self = {state, box};
  lua_pushvalue(L, index);
  if (lua_dump(L, append, &self, 0) != 0) neapL__raise_memory(L);
  lua_pop(L, 1);
  box->code->hash = hash_of(box->code->bytes, box->code->size);
}

/* ---- Places ---------------------------------------------------------------------------------- */

enum { WAYS = 4, SETS = NEAPL__CODES / WAYS };

/* The place of that code, or the one that it would take. */
static size_t place_of(neapL__code *const *places, const neapL__code *code, uint8_t turn) {
  size_t first = (size_t)(code->hash % SETS) * WAYS;
  for (size_t place = first; place < first + WAYS; place++)
    if (is_same(places[place], code)) return place;
  for (size_t place = first; place < first + WAYS; place++)
    if (!places[place]) return place;
  return first + turn % WAYS;
}

static void put(neapL__code **places, size_t place, neapL__code *code) {
  neapL__code_release(places[place]);
  places[place] = neapL__code_ref(code);
}

/* Other closures of the same prototype have the same code. */
static void intern(neapL__state *state, code_box *box) {
  size_t place = place_of(state->known_code, box->code, state->code_turn++);
  neapL__code *known = state->known_code[place];
  if (is_same(known, box->code)) {
    neapL__code_release(box->code);
    box->code = neapL__code_ref(known);
  } else {
    put(state->known_code, place, box->code);
  }
}

/* ---- Functions ------------------------------------------------------------------------------- */

/* Pushes a box in which a function's code is kept. */
static code_box *new_box(lua_State *L, neapL__state *state) {
  code_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = (code_box){NULL, false};
  neapL__set_meta(L, -1, &state->code_meta);
  return box;
}

/* Pops the box of the function at `index`. */
static void remember(lua_State *L, const neapL__state *state, int index) {
  neapL__push_ref(L, state->functions_ref);
  lua_pushvalue(L, index);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

/* NULL: not known. */
static const code_box *box_of(lua_State *L, const neapL__state *state, int index) {
  neapL__push_ref(L, state->functions_ref);
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  const code_box *box = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return box;
}

neapL__code *neapL__code_take(lua_State *L, neapL__state *state, int index) {
  const code_box *known = box_of(L, state, index);
  if (known) return neapL__code_ref(known->code);
  code_box *box = new_box(L, state);
  dump_function(L, state, box, index);
  intern(state, box);
  remember(L, state, index);
  return neapL__code_ref(box->code); /* the function keeps the box */
}

void neapL__code_load(lua_State *L, const neapL__code *code) {
  if (luaL_loadbufferx(L, code->bytes, code->size, "=code", "b") != LUA_OK) lua_error(L);
}

/* Takes the function with that code out of its place and pushes it; false (nothing pushed) if there is
 * none. */
static bool push_returned(lua_State *L, const neapL__state *state, const neapL__code *code) {
  size_t place = place_of(state->lent_code, code, 0);
  if (!is_same(state->lent_code[place], code)) return false;
  neapL__push_ref(L, state->lent_ref);
  bool is_there = lua_rawgeti(L, -1, (lua_Integer)place + 1) == LUA_TFUNCTION;
  lua_insert(L, -2);
  lua_pushboolean(L, 0);
  lua_rawseti(L, -2, (lua_Integer)place + 1);
  lua_pop(L, is_there ? 1 : 2);
  return is_there;
}

void neapL__code_lend(lua_State *L, neapL__state *state, neapL__code *code) {
  if (push_returned(L, state, code)) return;
  neapL__code_load(L, code);
  *new_box(L, state) = (code_box){neapL__code_ref(code), true};
  remember(L, state, lua_gettop(L) - 1);
}

enum { MOST_VARIABLES = 16 };

/* Pushes "v1,v2,..." */
static void push_names(lua_State *L, int count) {
  luaL_Buffer names;
  luaL_buffinit(L, &names);
  for (int i = 1; i <= count; i++) {
    char name[16];
    snprintf(name, sizeof name, "%sv%d", i > 1 ? "," : "", i);
    luaL_addstring(&names, name);
  }
  luaL_pushresult(&names);
}

/* Pushes a function that makes functions with so many variables of their own. They are made when needed. */
static void push_maker(lua_State *L, const neapL__state *state, int count) {
  neapL__push_ref(L, state->makers_ref);
  if (lua_rawgeti(L, -1, count) != LUA_TFUNCTION) {
    lua_pop(L, 1);
    push_names(L, count);
    const char *names = lua_tostring(L, -1);
    const char *source =
        lua_pushfstring(L, "local %s return function() return %s end", names, names);
    if (luaL_loadstring(L, source) != LUA_OK) lua_error(L);
    lua_copy(L, -1, -3);
    lua_pop(L, 2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, count);
  }
  lua_remove(L, -2);
}

static int count_upvalues(lua_State *L, int index) {
  lua_Debug info;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">u", &info);
  return info.nups;
}

/* The function gets upvalues of its own, with nil: what captured the former ones keeps them, and nothing
 * that the job had stays alive by the function. */
static void renew_upvalues(lua_State *L, const neapL__state *state, int index) {
  int count = count_upvalues(L, index);
  for (int done = 0; done < count; done += MOST_VARIABLES) {
    int part = count - done < MOST_VARIABLES ? count - done : MOST_VARIABLES;
    push_maker(L, state, part);
    lua_call(L, 0, 1);
    for (int i = 1; i <= part; i++) lua_upvaluejoin(L, index, done + i, -1, i);
    lua_pop(L, 1);
  }
}

void neapL__function_return(lua_State *L, neapL__state *state, int index) {
  index = lua_absindex(L, index);
  const code_box *box = box_of(L, state, index);
  if (!box || !box->is_lent) return;
  renew_upvalues(L, state, index);
  neapL__code *code = box->code;
  size_t place = place_of(state->lent_code, code, state->code_turn++);
  neapL__push_ref(L, state->lent_ref);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, (lua_Integer)place + 1);
  lua_pop(L, 1);
  if (!is_same(state->lent_code[place], code)) put(state->lent_code, place, code);
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static int code_gc(lua_State *L) {
  code_box *box = lua_touserdata(L, 1);
  neapL__code_release(box->code);
  box->code = NULL;
  return 0;
}

static const luaL_Reg code_metamethods[] = {{"__gc", code_gc}, {NULL, NULL}};

void neapL__open_code(lua_State *L, neapL__state *state) {
  neapL__class(L, &state->code_meta, "neap.Code", code_metamethods, NULL);
  lua_pop(L, 1);
  lua_createtable(L, NEAPL__CODES, 0);
  state->lent_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_createtable(L, MOST_VARIABLES, 0);
  state->makers_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void neapL__close_code(neapL__state *state) {
  for (size_t place = 0; place < NEAPL__CODES; place++) {
    neapL__code_release(state->known_code[place]);
    neapL__code_release(state->lent_code[place]);
    state->known_code[place] = state->lent_code[place] = NULL;
  }
}
