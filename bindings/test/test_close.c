/* A C host closes its Lua state in the middle of everything. */
#include "close.h"

/* ---- Streams ----------------------------------------------------------------------------------- */

TEST(a_stream_that_was_never_pulled) {
  check_close(PRELUDE "s = neap.stream(function(yield) local _ <close> = closing 'never' end)()",
              "");
}

TEST(a_parked_stream_with_an_open_scope_and_a_deadline) {
  check_close(PRELUDE
              "run(function()\n"
              "  s = neap.stream(function(yield)\n"
              "    local _ <close> = closing 'producer'\n"
              "    neap.timeout(60, function()\n"
              "      neap.group(function(g)\n"
              "        local _ <close> = closing 'group'\n"
              "        g:spawn(function() local _ <close> = closing 'child' await(sleep(9)) end)\n"
              "        yield(1)\n"
              "      end)\n"
              "    end)\n"
              "  end)()\n"
              "  assert(await(s:next()) == 1)\n"
              "end)",
              "child group producer");
}

TEST(parked_streams_in_each_other) {
  check_close(PRELUDE "run(function()\n"
                      "  local inner = neap.stream(function(yield)\n"
                      "    local _ <close> = closing 'inner'\n"
                      "    pairs_of(yield)\n"
                      "  end)\n"
                      "  local outer = neap.stream(function(yield)\n"
                      "    local _ <close> = closing 'outer'\n"
                      "    for v in inner() do yield(v) end\n"
                      "  end)\n"
                      "  s = outer()\n"
                      "  assert(await(s:next()) == 1 and await(s:next()) == 2)\n"
                      "end)",
              "inner outer");
}

TEST(a_pull_that_is_pending) {
  check_close(PRELUDE "s = neap.stream(function(yield)\n"
                      "  local _ <close> = closing 'producer'\n"
                      "  await(sleep(60))\n"
                      "end)()\n"
                      "run(function()\n"
                      "  background(function()\n"
                      "    local _ <close> = closing 'consumer'\n"
                      "    await(s:next())\n"
                      "  end)\n"
                      "end)",
              "producer consumer");
}

TEST(a_close_that_waits_for_a_pull) {
  check_close(PRELUDE
              "s = neap.stream(function(yield)\n"
              "  local _ <close> = neap.defer(function() await(sleep(3)) note 'late' end)\n"
              "  local _ <close> = closing 'producer'\n"
              "  await(sleep(60))\n"
              "end)()\n"
              "run(function()\n"
              "  background(function() pcall(await, s:next()) end)\n"
              "  background(function() local _ <close> = closing 'closer' await(s:close()) end)\n"
              "end)",
              "producer closer");
}

TEST(a_loop_over_a_stream_that_is_left_by_the_end_of_the_state) {
  check_close(PRELUDE "run(function()\n"
                      "  background(function()\n"
                      "    local produce = neap.stream(function(yield)\n"
                      "      local _ <close> = closing 'producer'\n"
                      "      pairs_of(yield)\n"
                      "    end)\n"
                      "    for v in produce() do note(v) await(sleep(60)) end\n"
                      "  end)\n"
                      "end)",
              "1 producer");
}

TEST(a_stream_that_nobody_holds_any_more) {
  check_close(PRELUDE "run(function()\n"
                      "  local s = neap.stream(function(yield)\n"
                      "    local _ <close> = closing 'producer'\n"
                      "    pairs_of(yield)\n"
                      "  end)()\n"
                      "  await(s:next())\n"
                      "end)\n"
                      "collectgarbage()\n"
                      "note 'collected'",
              "collected producer");
}

TEST(a_stream_that_errs_when_it_is_closed) {
  check_close(PRELUDE "run(function()\n"
                      "  s = neap.stream(function(yield)\n"
                      "    local _ <close> = closing('outer')\n"
                      "    local _ <close> = closing('inner', function() error 'broken' end)\n"
                      "    pairs_of(yield)\n"
                      "  end)()\n"
                      "  await(s:next())\n"
                      "end)",
              "inner outer");
}

TEST(a_stream_that_pulls_and_closes_another_when_it_is_closed) {
  check_close(PRELUDE "run(function()\n"
                      "  other = neap.stream(pairs_of)()\n"
                      "  s = neap.stream(function(yield)\n"
                      "    local _ <close> = closing('end', function()\n"
                      "      note(pcall(function() return other:next() end))\n"
                      "      note(pcall(function() return other:close() end))\n"
                      "    end)\n"
                      "    pairs_of(yield)\n"
                      "  end)()\n"
                      "  await(s:next()) await(other:next())\n"
                      "end)",
              "end false false");
}

/* As bodies that are not parked do. */
TEST(parked_streams_end_the_youngest_first) {
  check_close(PRELUDE "streams = {}\n"
                      "run(function()\n"
                      "  for i = 1, 3 do\n"
                      "    streams[i] = neap.stream(function(yield)\n"
                      "      local _ <close> = closing(i)\n"
                      "      pairs_of(yield)\n"
                      "    end)()\n"
                      "    await(streams[i]:next())\n"
                      "  end\n"
                      "end)",
              "3 2 1");
}

TEST(a_body_with_an_open_scope_and_a_deadline) {
  check_close(PRELUDE
              "run(function()\n"
              "  start(function()\n"
              "    local _ <close> = closing 'body'\n"
              "    neap.timeout(60, function()\n"
              "      neap.group(function(g)\n"
              "        local _ <close> = closing 'group'\n"
              "        g:spawn(function() local _ <close> = closing 'child' await(sleep(9)) end)\n"
              "        await(sleep(60))\n"
              "      end)\n"
              "    end)\n"
              "  end)\n"
              "end)",
              "child group body");
}

/* ---- Channels ----------------------------------------------------------------------------------- */

TEST(a_channel_with_items_and_senders_that_wait) {
  check_close(PRELUDE "ch = neap.channel(2)\n"
                      "run(function()\n"
                      "  for i = 1, 4 do\n"
                      "    background(function()\n"
                      "      local _ <close> = closing(i)\n"
                      "      await(ch:send(i, {}, 'more'))\n"
                      "      if i <= 2 then await(sleep(60)) end\n"
                      "    end)\n"
                      "  end\n"
                      "end)\n"
                      "sends = {ch:send(5), ch:send({})}",
              "4 3 2 1");
}

TEST(receivers_that_wait_in_a_loop_and_by_hand) {
  check_close(PRELUDE
              "ch = neap.channel()\n"
              "run(function()\n"
              "  background(function() local _ <close> = closing 'loop' for v in ch do end end)\n"
              "  background(function() local _ <close> = closing 'hand' await(ch:recv()) end)\n"
              "end)\n"
              "recv = ch:recv()",
              "hand loop");
}

TEST(an_item_that_was_handed_over_and_not_received_yet) {
  check_close(PRELUDE
              "ch = neap.channel(0)\n"
              "run(function()\n"
              "  background(function() local _ <close> = closing 'gone' await(ch:recv()) end)\n"
              "  await(neap.yield())\n"
              "  assert(ch:try_send({}, 2))\n"
              "end)",
              "gone");
}

TEST(a_channel_that_is_used_by_a_handler) {
  check_close(
      PRELUDE
      "ch = neap.channel(1)\n"
      "run(function()\n"
      "  background(function()\n"
      "    local _ <close> = closing('end', function()\n"
      "      note(#ch) note(tostring(ch))\n"
      "      note(pcall(ch.try_send, ch, 1)) note(pcall(ch.try_recv, ch))\n"
      "      note(pcall(ch.send, ch, 1)) note(pcall(ch.recv, ch)) note(pcall(ch.close, ch))\n"
      "    end)\n"
      "    await(sleep(60))\n"
      "  end)\n"
      "end)",
      "end 0 neap.Channel (0 of 1 items) true true false false true");
}

TEST(a_handler_that_closes_a_channel_in_which_others_wait) {
  check_close(PRELUDE
              "ch = neap.channel(0)\n"
              "run(function()\n"
              "  for i = 1, 3 do\n"
              "    background(function() local _ <close> = closing(i) await(ch:recv()) end)\n"
              "  end\n"
              "  background(function()\n"
              "    local _ <close> = closing('end', function() ch:close() end)\n"
              "    await(sleep(60))\n"
              "  end)\n"
              "end)",
              "end 3 2 1");
}

/* ---- Tokens -------------------------------------------------------------------------------------- */

TEST(a_token_with_a_time_limit_and_callbacks) {
  check_close(PRELUDE "src = neap.canceller()\n"
                      "src:cancel_after(60)\n"
                      "for i = 1, 3 do src.token:register(function() note 'called' end) end\n"
                      "local lost = neap.canceller()\n"
                      "lost:cancel_after(60)\n"
                      "lost.token:register(function() note 'called' end)\n"
                      "lost = nil collectgarbage()\n"
                      "linked = neap.link(src.token, neap.canceller().token)\n"
                      "linked:register(function() note 'called' end)",
              "");
}

TEST(a_block_with_a_token) {
  check_close(PRELUDE "src = neap.canceller()\n"
                      "run(function()\n"
                      "  background(neap.with_token, src.token, function()\n"
                      "    local _ <close> = closing 'block'\n"
                      "    local _ <close> = src.token:register(function() note 'called' end)\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "end)",
              "block");
}

TEST(the_token_of_an_open_scope) {
  check_close(PRELUDE "run(function()\n"
                      "  background(neap.scope, function(scope)\n"
                      "    scope.token:register(function() note 'called' end)\n"
                      "    local _ <close> = closing 'block'\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "  background(neap.scope, function(scope)\n"
                      "    kept = scope.token\n"
                      "    kept:register(function() note 'called' end)\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "end)",
              "block");
}

TEST(a_token_whose_calls_are_queued) {
  check_close(PRELUDE "run(function()\n"
                      "  background(neap.scope, function(s)\n"
                      "    scope = s\n"
                      "    s.token:register(function() note 'called' end)\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "  await(neap.yield())\n"
                      "end)\n"
                      "scope:cancel('why')",
              "");
}

/* ---- Semaphores and the like ----------------------------------------------------------------------- */

TEST(semaphores_mutexes_and_conditions_with_waiters) {
  check_close(PRELUDE "sem, mutex, event = neap.semaphore(1), neap.mutex(), neap.event()\n"
                      "run(function()\n"
                      "  for i = 1, 3 do\n"
                      "    background(function()\n"
                      "      local _ <close> = await(sem:acquire())\n"
                      "      local _ <close> = closing('permit')\n"
                      "      await(sleep(60))\n"
                      "    end)\n"
                      "    background(function()\n"
                      "      local _ <close> = await(mutex:lock())\n"
                      "      local _ <close> = closing('guard')\n"
                      "      await(sleep(60))\n"
                      "    end)\n"
                      "    background(function() await(event:wait()) end)\n"
                      "  end\n"
                      "end)\n"
                      "waiting = sem:acquire()",
              "guard permit");
}

/* The permit of a body that is closed goes to one that is closed later, which never runs. */
TEST(a_permit_that_is_released_to_one_that_waits) {
  check_close(PRELUDE "sem = neap.semaphore(1)\n"
                      "run(function()\n"
                      "  for i = 1, 3 do\n"
                      "    background(function()\n"
                      "      local _ <close> = closing(i)\n"
                      "      local _ <close> = await(sem:acquire())\n"
                      "      await(sleep(60))\n"
                      "    end)\n"
                      "  end\n"
                      "end)",
              "3 2 1");
}

/* ---- The rest of the helpers ------------------------------------------------------------------------ */

TEST(a_consumer_in_the_middle_of_its_stream) {
  check_close(PRELUDE "local function items(yield)\n"
                      "  local _ <close> = closing 'items'\n"
                      "  pairs_of(yield)\n"
                      "end\n"
                      "run(function()\n"
                      "  background(function()\n"
                      "    local _ <close> = closing 'consumer'\n"
                      "    local n = 0\n"
                      "    for v in neap.stream(items)() do\n"
                      "      n = n + 1\n"
                      "      if n == 3 then await(sleep(60)) end\n"
                      "    end\n"
                      "  end)\n"
                      "end)",
              "items consumer");
}

TEST(an_each_that_is_half_consumed) {
  check_close(PRELUDE "run(function()\n"
                      "  start(function()\n"
                      "    local _ <close> = closing 'consumer'\n"
                      "    local tasks = {}\n"
                      "    for i = 1, 4 do tasks[i] = start(function() if i > 2 then "
                      "await(sleep(60)) end end) end\n"
                      "    for task in neap.each(tasks) do note 'one' end\n"
                      "  end)\n"
                      "  kept = neap.each{start(sleep, 60), neap.completed(1)}\n"
                      "  kept()\n"
                      "  neap.each{sleep(60), sleep(60)}\n"
                      "end)",
              "one one consumer");
}

TEST(a_handler_that_errs) {
  check_close(PRELUDE "run(function()\n"
                      "  for i = 1, 2 do\n"
                      "    background(function()\n"
                      "      local _ <close> = closing('outer')\n"
                      "      local _ <close> = closing('inner', function() error {} end)\n"
                      "      await(neap.channel():recv())\n"
                      "    end)\n"
                      "  end\n"
                      "end)",
              "inner outer inner outer");
}

TEST(a_handler_that_starts_and_awaits) {
  check_close(PRELUDE "run(function()\n"
                      "  background(function()\n"
                      "    local _ <close> = closing('end', function()\n"
                      "      note(pcall(start, function() note 'started' end))\n"
                      "      note(pcall(function() await(sleep(1)) end))\n"
                      "      note(pcall(neap.run, function() end))\n"
                      "    end)\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "end)",
              "end false false false");
}

TEST(local_values_and_a_drawn_order) {
  check_close(PRELUDE "local v = neap.localvar and neap.localvar('default')\n"
                      "run(function()\n"
                      "  background(function()\n"
                      "    local _ <close> = closing 'end'\n"
                      "    if v then v:with('inner', function() await(sleep(60)) end) end\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "end)",
              "end");
}

/* ---- Failing allocations ------------------------------------------------------------------------------ */

/* Leaves something of everything behind. */
static const char mixture[] = PRELUDE
    "local ch, sem, src = neap.channel(1), neap.semaphore(1), neap.canceller()\n"
    "src:cancel_after(60)\n"
    "run(function()\n"
    "  for i = 1, 2 do\n"
    "    background(function() await(ch:send(i, {})) await(ch:send(i)) end)\n"
    "    background(function() local _ <close> = await(sem:acquire()) await(sleep(60)) end)\n"
    "  end\n"
    "  background(neap.with_token, src.token, function()\n"
    "    for v in neap.stream(pairs_of)() do if v == 2 then await(sleep(60)) end end\n"
    "  end)\n"
    "  background(neap.scope, function(scope)\n"
    "    scope.token:register(function() end)\n"
    "    await(sleep(60))\n"
    "  end)\n"
    "  await(neap.yield())\n"
    "end)";

static bool run_faulty(unsigned long n, bool persist, bool while_closing) {
  heap memory = {0};
  noted[0] = '\0';
  lua_State *L = lua_newstate(allocate, &memory);
  CHECK(call(L, open_with_note, NULL));
  if (while_closing) CHECK(call(L, run_script, mixture));
  memory.fail_at = n;
  memory.persist = persist;
  if (!while_closing) call(L, run_script, mixture);
  if (!while_closing) memory.fail_at = 0;
  lua_settop(L, 0);
  lua_close(L);
  CHECK(memory.bytes == 0);
  return memory.fired;
}

#ifdef __SANITIZE_ADDRESS__
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

TEST(a_state_closes_wherever_memory_has_failed_before) {
  for (int persist = 0; persist < 2; persist++) {
    unsigned long n = 1;
    while (n < 20000 && run_faulty(n, persist, false)) n += STRIDE;
    CHECK(n > 50 && n < 20000);
  }
}

TEST(a_state_closes_although_memory_fails_meanwhile) {
  for (int persist = 0; persist < 2; persist++) {
    unsigned long n = 1;
    while (n < 20000 && run_faulty(n, persist, true)) n++;
    CHECK(n < 20000);
  }
}

/* ---- Tokens in handlers: last, since these may crash ------------------------------------------- */

/* Tokens are collected before bodies are closed. Whether these calls work or raise is not said; they
 * must not crash. */
TEST(a_token_that_a_handler_looks_at) {
  check_close(PRELUDE "src = neap.canceller()\n"
                      "run(function()\n"
                      "  start(function()\n"
                      "    local _ <close> = closing('end', function()\n"
                      "      pcall(tostring, src.token)\n"
                      "      pcall(function() return src.token.cancelled end)\n"
                      "    end)\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "end)",
              "end");
}

TEST(a_token_that_a_handler_asks_for_its_reason) {
  check_close(PRELUDE "src = neap.canceller()\n"
                      "src:cancel('why')\n"
                      "run(function()\n"
                      "  start(function()\n"
                      "    local _ <close> = closing('end', function()\n"
                      "      pcall(function() return src.token.reason end)\n"
                      "      pcall(function() return src.token:check() end)\n"
                      "    end)\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "end)",
              "end");
}

TEST(a_token_that_a_handler_uses) {
  check_close(PRELUDE "src = neap.canceller()\n"
                      "run(function()\n"
                      "  start(function()\n"
                      "    local registration = src.token:register(function() note 'called' end)\n"
                      "    local _ <close> = closing('end', function()\n"
                      "      registration:unregister()\n"
                      "      pcall(src.cancel, src)\n"
                      "      pcall(src.cancel_after, src, 1)\n"
                      "      pcall(src.token.register, src.token, print)\n"
                      "      pcall(neap.link, src.token)\n"
                      "      pcall(neap.with_token, src.token, print)\n"
                      "      pcall(neap.canceller)\n"
                      "    end)\n"
                      "    await(sleep(60))\n"
                      "  end)\n"
                      "end)",
              "end");
}
