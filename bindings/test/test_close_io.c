/* A C host closes its Lua state while sockets and files are in use. */
#include "close.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* `pair` gives both ends of a connection; `wait` awaits in a task of its own and notes how that ends. */
#define NET_PRELUDE                                                                                \
  PRELUDE "local net, fs = neap.net, neap.fs\n"                                                    \
          "local function pair(server)\n"                                                          \
          "  local accepting = server:accept()\n"                                                  \
          "  local host, port = server:address()\n"                                                \
          "  local conn = await(net.connect{host = port and host, port = port, "                   \
          "path = not port and host or nil})\n"                                                    \
          "  return conn, await(accepting)\n"                                                      \
          "end\n"                                                                                  \
          "local function wait(name, fn)\n"                                                        \
          "  background(function() local _ <close> = closing(name) fn() end)\n"                    \
          "end\n"                                                                                  \
          "local function listen() return await(net.listen('127.0.0.1', 0)) end\n"

/* The lowest descriptor that is free. */
static int next_descriptor(void) {
  int fd = open("/dev/null", O_RDONLY);
  close(fd);
  return fd;
}

/* As check_close, and no descriptor is left open. */
static void check_close_io(const char *script, const char *expected) {
  int before = next_descriptor();
  check_close(script, expected);
  CHECK(next_descriptor() == before);
}

TEST(reads_of_all_kinds_that_wait) {
  check_close_io(NET_PRELUDE
                 "run(function()\n"
                 "  kept = {}\n"
                 "  for i, name in ipairs{'read', 'read_line', 'read_all', 'lines', 'loop'} do\n"
                 "    local server = listen()\n"
                 "    local conn, peer = pair(server)\n"
                 "    kept[i] = {server, conn, peer}\n"
                 "    await(peer:write('ab'))\n"
                 "    wait(i, function()\n"
                 "      if name == 'loop' then for _ in conn do end\n"
                 "      elseif name == 'lines' then for _ in conn:lines() do end\n"
                 "      else while true do await(conn[name](conn)) end end\n"
                 "    end)\n"
                 "  end\n"
                 "end)",
                 "5 4 3 2 1");
}

TEST(reads_that_nobody_awaits_or_holds) {
  check_close_io(NET_PRELUDE "run(function()\n"
                             "  local server <close> = listen()\n"
                             "  conn, peer = pair(server)\n"
                             "  read = conn:read_exactly(10)\n"
                             "  peer:read_until('--')\n"
                             "  await(conn:write('some data'))\n"
                             "end)\n"
                             "collectgarbage()",
                 "");
}

TEST(writes_and_a_shutdown_that_wait) {
  check_close_io(NET_PRELUDE
                 "run(function()\n"
                 "  local server <close> = listen()\n"
                 "  conn, peer = pair(server)\n"
                 "  local data = ('x'):rep(16 << 20)\n"
                 "  wait('write', function() await(conn:write(data, 1, 2, 3, 4, 5)) end)\n"
                 "  wait('second', function() await(conn:write('x')) end)\n"
                 "  wait('shutdown', function() await(conn:shutdown()) end)\n"
                 "  kept = {conn:write('y'), conn:shutdown()}\n"
                 "  conn:write('z'):cancel()\n"
                 "end)",
                 "shutdown second write");
}

TEST(servers_with_those_who_wait_and_connections_nobody_took) {
  check_close_io(NET_PRELUDE "run(function()\n"
                             "  server = listen()\n"
                             "  wait('loop', function() for _ in server do end end)\n"
                             "  wait('accept', function() await(server:accept()) end)\n"
                             "  other = listen()\n"
                             "  conn = await(net.connect(other:address()))\n"
                             "  task = other:accept()\n"
                             "end)",
                 "accept loop");
}

TEST(a_server_that_serves) {
  check_close_io(NET_PRELUDE
                 "run(function()\n"
                 "  local server = listen()\n"
                 "  serving = net.serve({server = server, limit = 3}, function(conn)\n"
                 "    local _ <close> = closing('handler')\n"
                 "    await(conn:read_all())\n"
                 "  end)\n"
                 "  conns = {}\n"
                 "  for i = 1, 4 do conns[i] = await(net.connect(server:address())) end\n"
                 "end, 20)",
                 "handler handler handler");
}

TEST(a_server_in_its_grace) {
  check_close_io(NET_PRELUDE "run(function()\n"
                             "  local server = listen()\n"
                             "  serving = net.serve({server = server}, function(conn)\n"
                             "    local _ <close> = closing('handler')\n"
                             "    await(conn:read_all())\n"
                             "  end)\n"
                             "  conn = await(net.connect(server:address()))\n"
                             "  await(neap.yield())\n"
                             "  serving:cancel()\n"
                             "end, 20)",
                 "handler");
}

TEST(connects_that_wait) {
  check_close_io(NET_PRELUDE
                 "run(function()\n"
                 "  server = await(net.listen{path = '@neap-test-close', backlog = 1})\n"
                 "  for i = 1, 6 do\n"
                 "    wait(i, function() local c = await(net.connect{path = '@neap-test-close'}) "
                 "await(c:read()) end)\n"
                 "  end\n"
                 "  wait('name', function() await(net.connect('localhost', 1)) end)\n"
                 "  wait('listen', function() await(net.listen('localhost', 0)) end)\n"
                 "end, 0)",
                 "listen name 6 5 4 3 2 1");
}

TEST(connections_that_are_being_closed_and_one_that_is_closed_by_a_handler) {
  check_close_io(NET_PRELUDE
                 "run(function()\n"
                 "  local server = listen()\n"
                 "  local conn, peer = pair(server)\n"
                 "  wait('close', function() await(conn:close()) await(sleep(60)) end)\n"
                 "  background(function()\n"
                 "    local _ <close> = closing('handler', function()\n"
                 "      pcall(peer.close, peer) pcall(peer.read, peer)\n"
                 "      pcall(peer.write, peer, 'x') pcall(server.accept, server)\n"
                 "      pcall(net.connect, '127.0.0.1', 1) pcall(net.listen, '127.0.0.1', 0)\n"
                 "      pcall(tostring, peer) pcall(tostring, server) pcall(peer.reset, peer)\n"
                 "    end)\n"
                 "    local _ <close> = peer\n"
                 "    local _ <close> = server\n"
                 "    await(peer:read())\n"
                 "  end)\n"
                 "end, 0)",
                 "handler close");
}

/* The data are in the pool, or nowhere yet; the last one blocks no thread. */
TEST(files_with_reads_and_writes_under_way) {
  check_close_io(NET_PRELUDE
                 "local path = os.tmpname()\n"
                 "run(function()\n"
                 "  file = await(fs.open(path, 'w+', {unlink_at_close = true}))\n"
                 "  local data = ('x'):rep(1 << 20)\n"
                 "  wait('write', function() await(file:write(data)) await(sleep(60)) end)\n"
                 "  wait('at', function() await(file:write_at(5, data)) await(sleep(60)) end)\n"
                 "  wait('sync', function() await(file:sync()) await(sleep(60)) end)\n"
                 "  wait('read', function() await(file:read_at(0, 1000)) await(sleep(60)) end)\n"
                 "  kept = {file:read_at(0, 10), file:truncate(5), file:close()}\n"
                 "  other = await(fs.open('/dev/zero'))\n"
                 "  wait('zero', function() await(other:read_exactly(1 << 26)) end)\n"
                 "  opening = fs.open('/dev/null')\n"
                 "end, 0)",
                 "zero read sync at write");
}
