--- neap.parallel: loops over the threads of workers.
local check = require "neap.check"
local core = require "neap.core"
local job = require "neap.parallel_job"
local pools = require "neap.pool"

local await = core.await

local M = {}

-- Chunks for each worker: the fewer, the less it costs to hand them out; the more, the better the
-- load is shared.
local CHUNKS_OF_INDICES, CHUNKS_OF_ITEMS = 32, 8
local LARGEST_CHUNK = 1024

-- Options

local function positive(opts, field, name, index)
  local x = opts[field]
  if x == nil or (math.type(x) == "integer" and x >= 1) then return x end
  core.argument_error(name, index, ("option '%s' must be an integer of 1 or more"):format(field))
end

local function read_options(opts, name, index)
  if opts == nil then opts = {} end
  check.table(opts, name, index)
  local pool = pools.option(opts, name, index)
  pools.check_open(pool)
  return {
    pool = pool,
    workers = positive(opts, "workers", name, index) or pools.size(pool),
    chunk = positive(opts, "chunk", name, index),
  }
end

local function chunk_size(opts, n, chunks)
  return opts.chunk or math.max(1, math.min(LARGEST_CHUNK, n // (opts.workers * chunks)))
end

local function new_job(pool, ...)
  return core.new_job(pool and pool.core, false, false, ...)
end

--- The same for a function that the caller has given, as the job or as its first argument: an
--- argument error if it cannot cross.
local function first_job(pool, name, index, ...)
  local made, why = new_job(pool, ...)
  if made then return made end
  core.argument_error(name, index, (why:gsub("^argument [12]", "the function")))
end

-- Lanes: tasks that give jobs to the workers, one after the other

--- Awaits a job; keeps its error, in the order of their ends.
local function run_job(failures, made)
  local ok, result, traceback = await(core.work(made))
  if ok then return result end
  failures[#failures + 1] = { err = result, traceback = traceback }
end

--- A cancellation comes first: what has failed is reported then (SPEC 181).
local function join(lanes, failures)
  local ok, err = pcall(await, core.all(lanes))
  local first = ok and failures[1]
  for _, failure in ipairs(failures) do
    if failure ~= first then core.report(failure.err, core.current()) end
  end
  if not ok then error(err, 0) end
  if first then core.raise(first.err, first.traceback) end
end

--- Runs `lane(failures)` in that many tasks, and waits for all of them.
local function run_lanes(pool, count, lane)
  local _ <close> = pools.hold(pool)
  local lanes, failures = {}, {}
  for i = 1, count do lanes[i] = core.start(lane, failures, i) end
  join(lanes, failures)
end

-- Ranges

local function run_range(pool, jobs, counters, lo)
  run_lanes(pool, #jobs, function(failures, i) run_job(failures, jobs[i]) end)
  local how = counters:get(job.HOW)
  local is_broken = how == job.BREAK
  return { completed = how == 0, lowest_break = is_broken and lo + counters:get(job.LIMIT) or nil }
end

--- How many indices there are from `lo` to `hi`.
local function count_indices(lo, hi)
  if hi < lo then return 0 end
  local n = hi - lo + 1
  if n > 0 then return n end
  core.argument_error("range", 2, "there are too many indices")
end

--- The jobs that share the indices: no more of them than there are chunks.
local function range_jobs(options, fn, counters, lo, n)
  local size = chunk_size(options, n, CHUNKS_OF_INDICES)
  local jobs = {}
  for i = 1, math.min(options.workers, (n - 1) // size + 1) do
    jobs[i] = first_job(options.pool, "range", 3,
      "neap.parallel_job.range", fn, counters, lo, n, size)
  end
  return jobs
end

--- Calls `fn(i, loop)` on other threads for each `i` from `lo` to `hi`, once, in no certain order.
--- A Task of how it ended. The first error ends it when the chunks that have begun are done.
---@param lo integer
---@param hi integer
---@param fn fun(i: integer, loop: neap.ParallelLoop)
---@param opts? neap.ParallelOptions
---@return neap.Task # of { completed: boolean, lowest_break: integer? }
function M.range(lo, hi, fn, opts)
  lo = check.integer(lo, math.mininteger, "range", 1)
  hi = check.integer(hi, math.mininteger, "range", 2)
  check.lua_function(fn, "range", 3)
  local options = read_options(opts, "range", 4)
  local n = count_indices(lo, hi)
  if core.is_cancelling() then return core.cancelled_here() end
  if n == 0 then return core.completed({ completed = true }) end
  local counters = core.counters(job.COUNTERS)
  counters:set(job.LIMIT, math.maxinteger)
  local jobs = range_jobs(options, fn, counters, lo, n)
  return core.start(run_range, options.pool, jobs, counters, lo)
end

-- Lists

--- The error of a chunk that cannot cross: one of its items, or the function, which has changed
--- since the call.
local function refuse_chunk(why, first)
  why = why:gsub("^argument 2", "the function"):gsub("^argument 3%[(%d+)%]", function(i)
    return "item " .. first + math.tointeger(i) - 1
  end)
  return core.error("EINVAL", why)
end

--- Chunk of that number of a list of `n` items.
local function cut(list, n, size, number)
  local first = (number - 1) * size + 1
  local last = math.min(first + size - 1, n)
  return {
    number = number,
    first = first,
    n = last - first + 1,
    items = table.move(list, first, last, 1, {}),
  }
end

--- Cuts the list into chunks: `begin(chunk)` makes the job of each, `take(chunk, result)` gets what
--- it returns. At most two for each worker are under way, so that memory is bounded.
local function run_chunks(options, list, begin, take)
  local n = #list
  local size = chunk_size(options, n, CHUNKS_OF_ITEMS)
  local count, last = (n - 1) // size + 1, 0
  local function run_next(failures)
    last = last + 1
    local chunk = cut(list, n, size, last)
    local made, why = begin(chunk)
    if made then
      take(chunk, run_job(failures, made))
    else
      failures[#failures + 1] = { err = refuse_chunk(why, chunk.first) }
    end
  end
  run_lanes(options.pool, math.min(count, 2 * options.workers), function(failures)
    while last < count and #failures == 0 do run_next(failures) end
  end)
  return count
end

local function run_map(options, list, fn)
  local results = { n = #list }
  run_chunks(options, list, function(chunk)
    return new_job(options.pool, "neap.parallel_job.map", fn, chunk.items, chunk.n, chunk.first)
  end, function(chunk, part)
    if part then table.move(part, 1, chunk.n, chunk.first, results) end
  end)
  return results
end

--- Calls `fn(item, index)` on other threads for each item: a Task of the table of their first
--- results, in the order of the list, with `n`. The first error ends it when the chunks that have
--- begun are done.
---@param list any[]
---@param fn fun(item: any, index: integer): any
---@param opts? neap.ParallelOptions
---@return neap.Task # of { n: integer, [integer]: any }
---@nodiscard
function M.map(list, fn, opts)
  check.table(list, "map", 1)
  check.lua_function(fn, "map", 2)
  local options = read_options(opts, "map", 3)
  if core.is_cancelling() then return core.cancelled_here() end
  first_job(options.pool, "map", 2, "neap.parallel_job.map", fn)
  if #list == 0 then return core.completed({ n = 0 }) end
  return core.start(run_map, options, table.move(list, 1, #list, 1, {}), fn)
end

local FOLD = "neap.parallel_job.fold"

--- Puts the results of the chunks together, on a worker too.
local function fold_partials(pool, fn, partials, count, init)
  local made, why = new_job(pool, FOLD, fn, partials, count, init)
  if not made then error(refuse_chunk(why, 1), 0) end
  local failures = {}
  local result = run_job(failures, made)
  if failures[1] then core.raise(failures[1].err, failures[1].traceback) end
  return result
end

local function run_reduce(options, list, fn, init)
  local pool, combine = options.pool, options.combine
  local _ <close> = pools.hold(pool) -- also between the chunks and the last fold
  local partials = {}
  local begin, finally = combine and { init } or nil, not combine and { init } or nil
  local count = run_chunks(options, list, function(chunk)
    return new_job(pool, FOLD, fn, chunk.items, chunk.n, begin)
  end, function(chunk, partial)
    partials[chunk.number] = partial
  end)
  return fold_partials(pool, combine or fn, partials, count, finally)
end

--- What cannot cross is an error of the argument that it was given as.
local function check_fold(options, fn, init)
  first_job(options.pool, "reduce", 2, FOLD, fn)
  local made, why = new_job(options.pool, FOLD, nil, { init })
  if not made then core.argument_error("reduce", 3, (why:gsub("^argument 3%[1%]", "init"))) end
  if options.combine then first_job(options.pool, "reduce", 4, FOLD, options.combine) end
end

--- Folds a list on other threads: a Task of `fn(... fn(fn(init, list[1]), list[2]) ..., list[n])`,
--- computed in chunks, so `fn` must be associative. Where items and results are of two kinds,
--- `opts.combine(a, b)` puts the results of two neighbouring chunks together, each of which begins
--- with `init`.
---@param list any[]
---@param fn fun(result: any, item: any): any
---@param init any
---@param opts? neap.ParallelOptions with combine
---@return neap.Task
---@nodiscard
function M.reduce(list, fn, init, opts)
  check.table(list, "reduce", 1)
  check.lua_function(fn, "reduce", 2)
  local options = read_options(opts, "reduce", 4)
  options.combine = opts and opts.combine
  if options.combine ~= nil then check.lua_function(options.combine, "reduce", 4) end
  if core.is_cancelling() then return core.cancelled_here() end
  check_fold(options, fn, init)
  if #list == 0 then return core.completed(init) end
  return core.start(run_reduce, options, table.move(list, 1, #list, 1, {}), fn, init)
end

-- Functions

local function run_invoke(jobs)
  local results, last = { n = jobs.n }, 0
  run_lanes(nil, math.min(jobs.n, pools.size()), function(failures)
    while last < jobs.n and #failures == 0 do
      last = last + 1
      local i = last
      results[i] = run_job(failures, jobs[i])
    end
  end)
  return results
end

--- Runs the functions on other threads: a Task of the table of their first results, with `n`. After
--- an error none of them is begun any more.
---@param ... fun(): any
---@return neap.Task # of { n: integer, [integer]: any }
function M.invoke(...)
  local jobs = table.pack(...)
  for i = 1, math.max(jobs.n, 1) do check.lua_function(jobs[i], "invoke", i) end
  if core.is_cancelling() then return core.cancelled_here() end
  for i = 1, jobs.n do
    jobs[i] = first_job(nil, "invoke", i, jobs[i])
  end
  return core.start(run_invoke, jobs)
end

return M
