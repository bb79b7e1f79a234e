-- Actors of a game: each is an async function that awaits frames, game time and other actors.
local neap = require "neap"
local game = require "game"

local async, await = neap.async, neap.await

-- Walks a little in each frame; returns the frame in which it has arrived.
local walk = async(function(actor, goal)
  local frame
  repeat
    frame = await(game.next_frame())
    actor.x = actor.x + actor.speed * game.FRAME
  until actor.x >= goal
  return frame
end)

-- Moves at ticks of its own, so nothing has to be done in most frames.
local tick = async(function(bomb)
  for _ = 1, 3 do
    await(neap.sleep(1))
    bomb.ticks = bomb.ticks + 1
  end
end)

-- For ever, until it is cancelled.
local guard = async(function(actor)
  local _ <close> = neap.defer(function() actor.is_home = true end)
  while true do
    await(neap.sleep(0.25))
    actor.rounds = actor.rounds + 1
  end
end)

-- Called by the host. What it returns is shown; cancelled, it ends its actors.
function main() -- luacheck: globals main
  local hero, sloth = { x = 0, speed = 2 }, { x = 0, speed = 0.5 }
  local bomb, watch = { ticks = 0 }, { rounds = 0 }
  local hero_frame, is_late
  neap.scope(function(scope)
    guard(watch) -- ends with the scope
    local arrival, explosion = walk(hero, 3), tick(bomb)
    is_late = not neap.try_for(2, function() await(walk(sloth, 3)) end)
    hero_frame = await(arrival)
    await(explosion)
    scope:cancel()
  end)
  local story = "hero: frame %d; sloth: %s, %.2f; bomb: %d ticks; guard: %d rounds, %s"
  return story:format(hero_frame, is_late and "late" or "in time", sloth.x, bomb.ticks,
    watch.rounds, watch.is_home and "home" or "out")
end
