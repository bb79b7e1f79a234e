/* The HTTP server in Lua: requests, responses, and the tasks that handle them. */
#ifndef NEAPLUA_DRIVERS_HTTP_SERVER_H
#define NEAPLUA_DRIVERS_HTTP_SERVER_H

#include "../../core/drivers/http_server.h"
#include "../object.h"

/* What the driver keeps for one Lua state; in a userdata in the registry. */
typedef struct neapL__http_driver {
  neapL__state *state;
  neapL__meta server_meta, request_meta, response_meta;
} neapL__http_driver;

/* The driver of L. [-0, +0, -] */
neapL__http_driver *neapL__http_driver_get(lua_State *L);

/* User values of a Request: its Response, which it keeps, and tables that are made when they are asked for. */
enum { NEAPL__HTTP_RESPONSE = 1, NEAPL__HTTP_HEADERS, NEAPL__HTTP_QUERY };
/* The one of a Response that was given to a handler. */
enum { NEAPL__HTTP_REQUEST = 1 };

/* Pushes the objects of an exchange. [-0, +1, m] */
void neapL__http_push_request(lua_State *L, const neapL__http_driver *driver,
                              neap__http_exchange *exchange);
void neapL__http_push_response(lua_State *L, const neapL__http_driver *driver,
                               neap__http_exchange *exchange);

/* The exchange behind the object at `index`; raises an argument error, or EMISUSE when it is over. */
neap__http_exchange *neapL__http_check_request(lua_State *L, int index);
neap__http_exchange *neapL__http_check_response(lua_State *L, int index);

/* A status that ends an exchange, at `index`; raises an argument error. */
int neapL__http_check_status(lua_State *L, int index);

/* Raises what a function of the core has given for the head or body of a response. */
int neapL__http_raise(lua_State *L, int code, const char *what);

/* Make the classes; their tables of methods go to the table on top, for what is added in Lua. [-0, +0, m] */
void neapL__http_open_requests(lua_State *L, neapL__http_driver *driver);
void neapL__http_open_responses(lua_State *L, neapL__http_driver *driver);

#endif
