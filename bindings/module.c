#include "module.h"

#include "await.h"
#include "buffer.h"
#include "channel.h"
#include "clock.h"
#include "combine.h"
#include "coroutine.h"
#include "counters.h"
#include "describe.h"
#include "dns.h"
#include "each.h"
#include "error.h"
#include "faults.h"
#include "filter.h"
#include "fs.h"
#include "locals.h"
#include "luv.h"
#include "net.h"
#include "operations.h"
#include "process.h"
#include "report.h"
#include "run.h"
#include "scope.h"
#include "signals.h"
#include "standard.h"
#include "stream.h"
#include "task.h"
#include "thread_channel.h"
#include "token.h"
#include "transfer.h"
#include "udp.h"
#include "waiter.h"
#include "watcher.h"
#include "websocket.h"
#include "worker.h"

int luaopen_neap_core(lua_State *L) {
  luaL_checkversion(L);
  neapL__state_open(L, NULL);
  lua_newtable(L);
  neapL__register(L, neapL__coroutine_functions); /* async start background */
  neapL__register(L, neapL__await_functions);     /* await checkpoint is_cancelling pcall xpcall */
  neapL__register(L, neapL__task_functions);      /* completed failed cancelled completion */
  neapL__register(L, neapL__combine_functions);   /* all any settle wait_for flatten */
  neapL__register(L, neapL__each_functions);      /* each */
  neapL__register(L, neapL__scope_functions);     /* scope timeout try_for group shield deadline */
  neapL__register(L, neapL__token_functions);     /* canceller link */
  neapL__register(L, neapL__channel_functions);   /* channel */
  neapL__register(L, neapL__stream_functions);    /* stream */
  neapL__register(L, neapL__queue_functions);     /* queue */
  neapL__register(L, neapL__buffer_functions);    /* buffer */
  neapL__register(L, neapL__locals_functions);    /* locals set_locals */
  neapL__register(L, neapL__transfer_functions);  /* transfer crossing_class */
  neapL__register(L, neapL__error_functions);     /* error is_cancel */
  neapL__register(L, neapL__report_functions);    /* on_unobserved on_warning */
  neapL__register_operations(L);                  /* sleep yield now */
  neapL__register_fs(L);
  neapL__register_net(L);
  neapL__register(L, neapL__filter_functions); /* on_tls add_conn_methods */
  neapL__register_udp(L);
  neapL__register(L, neapL__websocket_functions);
  neapL__register_dns(L);
  neapL__register_signal(L);
  neapL__register_watch(L);
  neapL__register_process(L);
  neapL__register_stdio(L);
  neapL__register(L, neapL__counters_functions); /* counters */
  neapL__register_worker(L);                     /* new_job work new_pool close_pool */
  neapL__register_clock(L);                      /* test_clock */
  neapL__register_run(L);                        /* run */
  neapL__register(L, neapL__luv_functions);      /* join_luv luv_error */
  neapL__register(L, neapL__thread_channel_functions);
  neapL__register(L, neapL__describe_functions);
  neapL__register(L, neapL__fault_functions);
  lua_pushliteral(L, NEAP_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}
