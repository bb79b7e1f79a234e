/* What the parts of neap/http_client_driver.so share. */
#ifndef NEAPLUA_DRIVERS_HTTP_CLIENT_H
#define NEAPLUA_DRIVERS_HTTP_CLIENT_H

#include "../../core/drivers/http_client.h"
#include "../object.h"

/* What the driver keeps for a Lua state, in its registry. */
typedef struct neapL__http {
  neapL__meta client_meta, settings_meta, body_meta, text_meta;
  int response_ref; /* the metatable of responses, made in Lua */
} neapL__http;

neapL__http *neapL__http_get(lua_State *L);

/* Pushes the class of settings, and of streamed bodies. [-0, +0, m] */
void neapL__http_open_settings(lua_State *L, neapL__http *http);
void neapL__http_open_bodies(lua_State *L, neapL__http *http);

/* The settings at `index`; raises an argument error. */
neap__http_settings *neapL__http_check_settings(lua_State *L, int index);

/* The strings of the list at `index` as a list of libcurl, in *list, which belongs to somebody already.
 * Raises when out of memory. */
void neapL__http_read_list(lua_State *L, int index, struct curl_slist **list);

/* native.settings(options) -> Settings */
int neapL__http_new_settings(lua_State *L);

/* native.text(string) -> Text: a body that has arrived, to be read as one that is streamed */
int neapL__http_new_text(lua_State *L);

/* Pushes an object for the streamed body of a transfer, which it takes over from the request. [-0, +1, m] */
void neapL__http_push_body(lua_State *L, neap__http_request *request);

#endif
