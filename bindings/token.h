/* Tokens in Lua: neap.canceller, neap.link, token:register. */
#ifndef NEAPLUA_TOKEN_H
#define NEAPLUA_TOKEN_H

#include "../core/token.h"
#include "state.h"

/* The token at `index`; raises an argument error. */
neap_token *neapL__check_token(lua_State *L, int index);

/* Pushes a new token, which is borrowed from its object. [-0, +1, m] */
neap_token *neapL__push_new_token(lua_State *L, neapL__state *state);

/* Pushes why it was cancelled, nil if there is no reason. [-0, +1, -] */
void neapL__push_token_reason(lua_State *L, const neapL__state *state, const neap_token *token);

void neapL__open_tokens(lua_State *L, neapL__state *state);

extern const luaL_Reg neapL__token_functions[];

#endif
