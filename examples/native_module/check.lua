-- What mymodule does: lua5.4 check.lua, once it is installed.
local neap = require "neap"
local mymodule = require "mymodule"

local await = neap.await

neap.run(function()
  -- Two threads count, and this one goes on.
  local many, few = mymodule.count_primes(200000), mymodule.count_primes(10)
  assert(await(few) == 4 and await(many) == 17984)

  local shares = {}
  assert(await(mymodule.count_primes(1000, function(share) shares[#shares + 1] = share end)) == 168)
  await(neap.yield()) -- what it has told comes before its end, as tasks that run in a turn
  assert(#shares > 5 and shares[1] < shares[#shares])

  -- Errors of the library, and wrong arguments.
  local ok, err = pcall(await, mymodule.count_primes(1 << 40))
  assert(not ok and err.code == "ETOOMANY", tostring(err))
  ok, err = pcall(mymodule.count_primes, "ten")
  assert(not ok and err:find("integer expected", 1, true), err)

  -- A time limit stops the thread.
  ok, err = neap.try_for(0.02, function() await(mymodule.count_primes(100000000)) end)
  assert(not ok and err == "timeout")

  do
    local bell <close> = await(mymodule.bell())
    local first, second = bell:ring(0.02), bell:ring(0.01)
    assert(await(first) + await(second) == 1 + 2)
    assert(tostring(bell):find("mymodule.Bell", 1, true))
    assert(not neap.try_for(0.01, function() await(bell:ring(60)) end))
    local last = bell:ring(0.01)
    bell:close() -- `last` goes on
    assert(await(last) == 3)
    ok, err = pcall(bell.ring, bell, 1)
    assert(not ok and err:find("the object is closed", 1, true), err)
  end

  -- Ended with the program.
  neap.background(function() await(await(mymodule.bell()):ring(60)) end)
end)
print("mymodule: ok")
