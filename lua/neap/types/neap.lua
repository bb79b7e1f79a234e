---@meta
-- Definitions for editors (LuaLS) of everything public. Never loaded.
-- luacheck: ignore 212 241

---What a task ends with; "pending" before.
---@alias neap.Status "pending" | "done" | "failed" | "cancelled"

---What await takes: a Task, or a value whose metatable has __await.
---@alias neap.Awaitable neap.Task | table | userdata

---@class neap
---@field version string
---@field fs neap.fs
---@field net neap.net
local neap = {}

-- functions and tasks -----------------------------------------------------------------------------

---Makes an async function: calling it runs fn to its first real wait and returns the Task.
---@param fn fun(...): ...
---@return fun(...): neap.Task
---@nodiscard
function neap.async(fn) end

---Waits for a Task: its results, or its error is raised.
---@async
---@param x neap.Awaitable
---@return any ...
function neap.await(x) end

---Runs fn(...) as a task, to its first real wait.
---@param fn fun(...): ...
---@param ... any for fn
---@return neap.Task
function neap.start(fn, ...) end

---Runs fn(...) as a task for which no scope waits.
---@param fn fun(...): ...
---@param ... any for fn
---@return neap.Task
function neap.background(fn, ...) end

---await(neap.yield()) lets the others run for one turn.
---@return neap.Task
---@nodiscard
function neap.yield() end

---A Task that is done with (...).
---@param ... any
---@return neap.Task
---@nodiscard
function neap.completed(...) end

---A Task that has failed with err.
---@param err any
---@return neap.Task
---@nodiscard
function neap.failed(err) end

---A Task that was cancelled.
---@param reason? any
---@return neap.Task
---@nodiscard
function neap.cancelled(reason) end

---A Task that whoever holds the completion ends.
---@param on_cancel? fun(reason: any) called by task:cancel(reason)
---@return neap.Completion
---@nodiscard
function neap.completion(on_cancel) end

---Done when all have ended: { n =, first result of each }. Of several errors the first in the
---list's order is raised.
---@param list neap.Task[]
---@return neap.Task
---@nodiscard
function neap.all(list) end

---The same with all results of each: { n =, { n =, ... }, ... }.
---@param list neap.Task[]
---@return neap.Task
---@nodiscard
function neap.all_packed(list) end

---Done when the first has ended, well or not: that Task and its index.
---@param list neap.Task[]
---@return neap.Task
---@nodiscard
function neap.any(list) end

---Its results: "done", ... | "failed", err | "cancelled", reason. Never fails.
---@param task neap.Task
---@return neap.Task
---@nodiscard
function neap.settle(task) end

---The outcome of task, or ETIMEDOUT; task itself goes on.
---@param task neap.Task
---@param seconds number
---@return neap.Task
---@nodiscard
function neap.wait_for(task, seconds) end

---The outcome of the Task that task ends with.
---@param task neap.Task
---@return neap.Task
---@nodiscard
function neap.flatten(task) end

-- programs ----------------------------------------------------------------------------------------

---@class neap.RunOptions
---@field clock? neap.Clock
---@field grace? number seconds that background tasks have for their cleanup, default 5
---@field debug? boolean warn of tasks that nobody awaits; default: NEAP_DEBUG

---Runs fn(...) as the main task; returns its results when every task has ended.
---@param fn fun(...): ...
---@param ... any for fn
---@return any ...
---@overload fun(options: neap.RunOptions, fn: (fun(...): ...), ...): ...
function neap.run(fn, ...) end

---Runs fn(...) as the main task, then exits with its integer result, or 0.
---@param fn fun(...): integer?
---@param ... any for fn
function neap.main(fn, ...) end

---@param seconds number 0 or more
---@return neap.Task
---@nodiscard
function neap.sleep(seconds) end

---Seconds of the loop's clock, which never goes back.
---@return number
---@nodiscard
function neap.now() end

---@param seconds number more than 0
---@return neap.Ticker
---@nodiscard
function neap.every(seconds) end

-- scopes ------------------------------------------------------------------------------------------

---@class neap.ScopeOptions
---@field timeout? number seconds
---@field shield? boolean no cancellation from outside reaches into it
---@field name? string

---Runs fn(scope, ...) in a scope: true, results | false, reason when the scope was cancelled.
---@async
---@param fn fun(scope: neap.Scope, ...): ...
---@param ... any for fn
---@return boolean completed
---@return any ...
---@overload async fun(options: neap.ScopeOptions?, fn: function, ...): boolean, ...
function neap.scope(fn, ...) end

---Runs fn(...) under a time limit; raises ETIMEDOUT.
---@async
---@param seconds number
---@param fn fun(...): ...
---@param ... any for fn
---@return any ...
function neap.timeout(seconds, fn, ...) end

---Runs fn(...) under a time limit: true, results | false, "timeout".
---@async
---@param seconds number
---@param fn fun(...): ...
---@param ... any for fn
---@return boolean in_time
---@return any ...
function neap.try_for(seconds, fn, ...) end

---Runs fn(group, ...), until all tasks of the group have ended; the first error cancels the rest.
---Without fn: `local g <close> = neap.group()`.
---@async
---@param fn fun(group: neap.Group, ...): ...
---@param ... any for fn
---@return any ...
---@overload fun(): neap.Group
function neap.group(fn, ...) end

---`local d <close> = neap.deadline(seconds)`: ETIMEDOUT leaves the block.
---@param seconds number
---@return neap.Scope
---@nodiscard
function neap.deadline(seconds) end

---Runs fn(...) where no cancellation from outside reaches.
---@async
---@param fn fun(...): ...
---@param ... any for fn
---@return any ...
function neap.shield(fn, ...) end

---`local _ <close> = neap.defer(fn)`: cleanup that may await, shielded, for opts.grace seconds (5).
---@param fn fun(err: any)
---@param opts? { grace: number }
---@return neap.Deferred
---@nodiscard
function neap.defer(fn, opts) end

---Raises Cancelled if the current scope is cancelled.
---@async
function neap.checkpoint() end

---@return boolean
---@nodiscard
function neap.is_cancelling() end

---The earliest deadline around here, as a time of neap.now(); math.huge without one.
---@return number
---@nodiscard
function neap.effective_deadline() end

-- errors and diagnostics --------------------------------------------------------------------------

---pcall that never returns the caller's own Cancelled.
---@async
---@param fn fun(...): ...
---@param ... any for fn
---@return boolean ok
---@return any ...
function neap.pcall(fn, ...) end

---xpcall that never returns the caller's own Cancelled.
---@async
---@param fn fun(...): ...
---@param handler fun(err: any): any
---@param ... any for fn
---@return boolean ok
---@return any ...
function neap.xpcall(fn, handler, ...) end

---Whether err is a Cancelled.
---@param err any
---@return boolean
---@nodiscard
function neap.is_cancel(err) end

---@param code string
---@param message string
---@param fields? table further fields
---@return neap.Error
---@nodiscard
function neap.error(code, message, fields) end

---Sets who hears of errors that nobody observes; nil: stderr. Returns the handler before.
---@param fn? fun(err: any, task: neap.Task?)
---@return function? previous
function neap.on_unobserved(fn) end

---Sets who hears of warnings; nil: stderr. Returns the handler before.
---@param fn? fun(message: string, task: neap.Task?)
---@return function? previous
function neap.on_warning(fn) end

---Writes a line for each task that has not ended.
---@param file? file* default io.stderr
function neap.dump(file) end

---A clock for tests: stands still unless it is told to move.
---@param opts? { autojump?: boolean, start?: number }
---@return neap.Clock
---@nodiscard
function neap.test_clock(opts) end

-- objects -----------------------------------------------------------------------------------------

---@class neap.Task
local Task = {}

---@return neap.Status
---@nodiscard
function Task:status() end

---Whether it has ended, in whatever way.
---@return boolean
---@nodiscard
function Task:is_done() end

---Its results, or its error is raised; misuse while it is pending. Never waits.
---@return any ...
function Task:result() end

---Its error; nil unless it has failed.
---@return any
---@nodiscard
function Task:error() end

---Its errors in the order of the elements; empty unless it has failed.
---@return any[]
---@nodiscard
function Task:errors() end

---The error, where it was raised, and a line for each await it passed; nil if there is none.
---@return string?
---@nodiscard
function Task:traceback() end

---@return integer
---@nodiscard
function Task:id() end

---Its name; with an argument, names it and returns the task.
---@return string?
---@overload fun(self: neap.Task, name: string): neap.Task
function Task:name() end

---Asks for cancellation; true the first time. Runs none of its code.
---@param reason? any
---@return boolean requested
function Task:cancel(reason) end

---@return boolean
---@nodiscard
function Task:cancel_requested() end

---Calls fn(task) in a background task, in a turn after the one in which it ends.
---@param fn fun(task: neap.Task)
---@return neap.Task self
function Task:on_done(fn) end

---Outside a loop: runs the loop until it has ended; outcome as from await.
---@param seconds? number then ETIMEDOUT
---@return any ...
function Task:wait(seconds) end

---@class neap.Completion
---@field task neap.Task
local Completion = {}

---Ends the task with these results; misuse when it has ended already.
---@param ... any
function Completion:resolve(...) end

---Ends the task with this error; misuse when it has ended already.
---@param err any
function Completion:reject(err) end

---Ends the task as cancelled; misuse when it has ended already.
---@param reason? any
function Completion:cancel(reason) end

---@param ... any
---@return boolean ended false: it had ended already
function Completion:try_resolve(...) end

---@param err any
---@return boolean ended false: it had ended already
function Completion:try_reject(err) end

---@param reason? any
---@return boolean ended false: it had ended already
function Completion:try_cancel(reason) end

---@class neap.Scope
---@field cancelled boolean its cancellation was requested
---@field caught boolean it has ended its own cancellation
---@field errors any[] errors of its tasks that were not raised
local Scope = {}

---@param reason? any
---@return boolean requested
function Scope:cancel(reason) end

---@param seconds number from now on; math.huge for none
function Scope:set_timeout(seconds) end

---@param shield boolean
function Scope:set_shield(shield) end

---@class neap.Group: neap.Scope
local Group = {}

---@param fn fun(...): ...
---@param ... any for fn
---@return neap.Task
function Group:spawn(fn, ...) end

---An error that neap makes: code, message and what is known about it.
---@class neap.Error
---@field code string for instance "ENOENT"
---@field message string
---@field where? string of EMISUSE: "file:line" of the caller
---@field syscall? string
---@field path? string
---@field address? string "host:port"
---@field task? neap.Task of ECANCELLED
---@field reason? any of ECANCELLED
---@field cause? neap.Error
---@field tasks? string[] of EDEADLOCK: a line for each task

---What is raised in a cancelled scope. Not an error but control flow.
---@class neap.Cancelled
---@field scope neap.Scope | neap.Task what was cancelled
---@field reason any
---@field written? integer bytes of a conn:write that was cut off

---@class neap.Clock
local Clock = {}

---@return number
---@nodiscard
function Clock:now() end

---Done when the clock has moved so far, deadline by deadline.
---@param seconds number
---@return neap.Task
function Clock:advance(seconds) end

-- I/O ---------------------------------------------------------------------------------------------

---@class neap.fs
local fs = {}

---@param path string
---@return neap.Task # of a string
---@nodiscard
function fs.read_file(path) end

---Creates or replaces.
---@param path string
---@param data string
---@return neap.Task
function fs.write_file(path, data) end

---@class neap.fs.Entry
---@field name string
---@field type "file" | "directory" | "link" | "fifo" | "socket" | "char" | "block" | "unknown"

---@param path string
---@return neap.Task # of neap.fs.Entry[], sorted by name
---@nodiscard
function fs.list(path) end

---@param path string
---@param mode? "r" | "w" | "a" | "r+" | "w+" | "a+"
---@return neap.Task # of a neap.File
---@nodiscard
function fs.open(path, mode) end

---@class neap.File
local File = {}

---@param n? integer bytes at most, default 65536
---@return neap.Task # of a string; of nil at the end
---@nodiscard
function File:read(n) end

---@param ... string
---@return neap.Task # of the number of bytes
function File:write(...) end

---@return neap.Task
function File:close() end

---@class neap.net
local net = {}

---@param host string name or address
---@param port integer
---@return neap.Task # of a neap.Conn
---@nodiscard
function net.connect(host, port) end

---@param host string name or address
---@param port integer 0: a free one
---@param opts? { backlog?: integer }
---@return neap.Task # of a neap.Server
---@nodiscard
function net.listen(host, port, opts) end

---@class neap.Server
local Server = {}

---@return neap.Task # of a neap.Conn
---@nodiscard
function Server:accept() end

---@return string host
---@return integer port
---@nodiscard
function Server:address() end

---@return neap.Task
function Server:close() end

---@class neap.Conn
local Conn = {}

---@param n? integer bytes at most, default 65536
---@return neap.Task # of a string; of nil at the end
---@nodiscard
function Conn:read(n) end

---@param ... string
---@return neap.Task # of the number of bytes
function Conn:write(...) end

---Ends this direction after what was written.
---@return neap.Task
function Conn:shutdown() end

---@return neap.Task
function Conn:close() end

---@return string host
---@return integer port
---@nodiscard
function Conn:peer() end

---@return string host
---@return integer port
---@nodiscard
function Conn:address() end

return neap
