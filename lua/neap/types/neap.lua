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
---@field dns neap.dns
---@field signal neap.signal
---@field process neap.process
---@field stdio neap.stdio
---@field tls neap.tls
---@field sqlite neap.sqlite
---@field websocket neap.websocket
---@field parallel neap.parallel
---@field worker neap.worker
---@field http neap.http
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

---An iterator of the tasks as they end: `for task, index in neap.each(list) do`.
---@param list neap.Task[]
---@return neap.Each
---@return nil
---@return nil
---@return neap.Each closing
---@nodiscard
function neap.each(list) end

---Starts all functions; the outcome of the one that ends first, when the others were cancelled and
---have ended.
---@param fn fun(): ...
---@param ... fun(): ...
---@return neap.Task
---@nodiscard
function neap.race(fn, ...) end

---@class neap.LoopOptions
---@field limit? integer so many bodies at a time; default: no limit

---Calls fn(item, index) for each item in a task of its own: { n =, first results in the list's
---order }. The first error cancels the rest.
---@generic T
---@param list T[]
---@param fn fun(item: T, index: integer): ...
---@param opts? neap.LoopOptions
---@return neap.Task
---@nodiscard
function neap.map(list, fn, opts) end

---The same without results; of an iterator, fn gets all of its values. It is closed at the end.
---@param items any[] | fun(): ... | neap.Channel | neap.ThreadChannel | neap.Stream | neap.Each
---@param fn fun(...): ...
---@param opts? neap.LoopOptions
---@return neap.Task
---@nodiscard
function neap.for_each(items, fn, opts) end

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

-- tokens ------------------------------------------------------------------------------------------

---The side that cancels a token.
---@return neap.Canceller
---@nodiscard
function neap.canceller() end

---A token that is cancelled when one of these is.
---@param token neap.Token
---@param ... neap.Token
---@return neap.Token
---@nodiscard
function neap.link(token, ...) end

---Runs fn(...) in a scope that the token cancels; then ECANCELLED is raised (.token, .reason).
---@async
---@param token neap.Token
---@param fn fun(...): ...
---@param ... any for fn
---@return any ...
function neap.with_token(token, fn, ...) end

-- coordination ------------------------------------------------------------------------------------

---Bytes outside of Lua's memory: a string's, immutable, or so many zeros, writable.
---@param bytes string | integer
---@return neap.Buffer
---@nodiscard
function neap.buffer(bytes) end

---@class neap.ChannelOptions
---@field full? "wait" | "drop_oldest" | "drop_newest" | "drop_write" default "wait"
---@field on_drop? fun(...) gets the values of each dropped item

---Hands items from task to task. Without a capacity it is unbounded; 0: a rendezvous.
---@param capacity? number an integer of 0 or more, or math.huge
---@param opts? neap.ChannelOptions
---@return neap.Channel
---@nodiscard
function neap.channel(capacity, opts) end

---@param count integer 0 or more
---@param max? integer at least count, and at least 1
---@return neap.Semaphore
---@nodiscard
function neap.semaphore(count, max) end

---@return neap.Mutex
---@nodiscard
function neap.mutex() end

---@return neap.Event
---@nodiscard
function neap.event() end

---@param mutex neap.Mutex
---@return neap.Condition
---@nodiscard
function neap.condition(mutex) end

---Makes a stream function: `for v in f(...) do` pulls what the body yields, and closes it.
---@param fn async fun(yield: (async fun(...)), ...)
---@return fun(...): neap.Stream, nil, nil, neap.Stream
---@nodiscard
function neap.stream(fn) end

---A value that each task has for itself, and that flows into what it starts.
---@param default any
---@return neap.LocalVar
---@nodiscard
function neap.localvar(default) end

-- callbacks ---------------------------------------------------------------------------------------

---Calls fn(..., cb), where cb(err, ...) ends the Task. fn may return a canceller, or be one of luv's.
---@param fn fun(...): any
---@param ... any for fn
---@return neap.Task
function neap.from_callback(fn, ...) end

---The async function whose call is neap.from_callback(fn, ...).
---@param fn fun(...): any
---@param opts? { raw: boolean?, luv: boolean? } raw: cb has no error argument; luv: fn is as luv's are
---@return fun(...): neap.Task
---@nodiscard
function neap.wrap(fn, opts) end

---The module luv, on one loop with neap from the first call on.
---@return table uv
function neap.luv() end

---report(...) hands its arguments to fn in a later turn, in order, until the current task ends.
---@param fn fun(...)
---@return fun(...) report
---@nodiscard
function neap.progress(fn) end

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
---@field token neap.Token cancelled when the scope is
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
---@field token? neap.Token of ECANCELLED
---@field reason? any of ECANCELLED
---@field cause? any of ECLOSED: what the channel was closed with
---@field tasks? string[] of EDEADLOCK: a line for each task

---What is raised in a cancelled scope. Not an error but control flow.
---@class neap.Cancelled
---@field scope neap.Scope | neap.Task what was cancelled
---@field reason any
---@field written? integer bytes of a conn:write that was cut off

---What neap.defer gives: closed at the end of the block.
---@class neap.Deferred

---@class neap.Ticker
---@overload async fun(): integer?
local Ticker = {}

---A Task of the next tick's number; of nil when the ticker was closed.
---@return neap.Task
---@nodiscard
function Ticker:next() end

function Ticker:close() end

---Gives the tasks of a list as they end. Called by a generic for.
---@class neap.Each
---@overload async fun(): neap.Task?, integer?

---@class neap.Canceller
---@field token neap.Token always the same object
local Canceller = {}

---Cancels the token and runs the callbacks.
---@param reason? any
---@return boolean cancelled true the first time
function Canceller:cancel(reason) end

---Cancels later, with the reason "timeout"; replaces an earlier one.
---@param seconds number math.huge disarms
function Canceller:cancel_after(seconds) end

---@class neap.Token
---@field cancelled boolean
---@field reason any
local Token = {}

---Raises ECANCELLED if it is cancelled.
function Token:check() end

---Calls fn(reason) when it is cancelled; at once if it is already.
---@param fn fun(reason: any)
---@return neap.Registration
function Token:register(fn) end

---Closable: unregisters.
---@class neap.Registration
local Registration = {}

---@return boolean removed true if it was removed before it ran
function Registration:unregister() end

---A view of a block of bytes. Places are counted from 1; ranges are those of string.sub.
---@class neap.Buffer
---@operator len: integer
local Buffer = {}

---All bytes.
---@return string
---@nodiscard
function Buffer:string() end

---@param i? integer default 1
---@param j? integer default -1
---@return string
---@nodiscard
function Buffer:sub(i, j) end

---@param i? integer default 1
---@param j? integer default i
---@return integer ...
---@nodiscard
function Buffer:byte(i, j) end

---Plain: there are no patterns.
---@param bytes string | number | neap.Buffer
---@param init? integer default 1
---@return integer? first
---@return integer? last
---@nodiscard
function Buffer:find(bytes, init) end

---As string.unpack, in place.
---@param fmt string
---@param pos? integer default 1
---@return any ... the values, and the place behind them
---@nodiscard
function Buffer:unpack(fmt, pos) end

---Another view of the same bytes.
---@param i? integer default 1
---@param j? integer default -1
---@return neap.Buffer
---@nodiscard
function Buffer:slice(i, j) end

---@param pos integer
---@param bytes string | number | neap.Buffer
---@return integer # the place behind them
function Buffer:set(pos, bytes) end

---As string.pack, in place.
---@param pos integer
---@param fmt string
---@param ... any
---@return integer # the place behind them
function Buffer:pack(pos, fmt, ...) end

---@param byte integer from 0 to 255
---@param i? integer default 1
---@param j? integer default -1
---@return neap.Buffer # itself
function Buffer:fill(byte, i, j) end

---Immutable from now on, with all slices of the block; EMISUSE while a read into it is under way.
---@return neap.Buffer # itself
function Buffer:freeze() end

---@return boolean
---@nodiscard
function Buffer:is_writable() end

---The memory is free when the last slice was closed or collected.
function Buffer:close() end

---@class neap.Channel
---@operator len: integer
---@overload async fun(): ...
local Channel = {}

---Done when the item is in the buffer or with a receiver; ECLOSED.
---@param ... any the item
---@return neap.Task
function Channel:send(...) end

---A Task of true and the item; of false when the channel is closed and empty.
---@return neap.Task
---@nodiscard
function Channel:recv() end

---@param ... any the item
---@return boolean sent
---@return ("full" | "closed")? why
function Channel:try_send(...) end

---True and the item, or false and "empty" or "closed".
---@return boolean received
---@return any ...
---@nodiscard
function Channel:try_recv() end

---No more items. With an error, receivers raise it when the buffer is empty.
---@param err? any
---@return boolean closed true the first time
function Channel:close(err) end

---A channel between Lua states; see neap.worker.channel. Two objects of one channel are equal.
---@class neap.ThreadChannel
---@operator len: integer
---@overload async fun(): ...
local ThreadChannel = {}

---Done when a copy of the item is in the buffer or with a receiver; ECLOSED.
---@param ... any the item; what cannot cross is an argument error
---@return neap.Task
function ThreadChannel:send(...) end

---A Task of true and the item; of false when the channel is closed and empty.
---@return neap.Task
---@nodiscard
function ThreadChannel:recv() end

---@param ... any the item
---@return boolean sent
---@return ("full" | "closed")? why
function ThreadChannel:try_send(...) end

---True and the item, or false and "empty" or "closed".
---@return boolean received
---@return any ...
---@nodiscard
function ThreadChannel:try_recv() end

---No more items. With an error, each receiver raises a copy of it when the buffer is empty.
---@param err? any without userdata in it
---@return boolean closed true the first time
function ThreadChannel:close(err) end

---@class neap.Semaphore
local Semaphore = {}

---@return neap.Task # of a neap.Permit
---@nodiscard
function Semaphore:acquire() end

---@return neap.Permit | false
---@nodiscard
function Semaphore:try_acquire() end

---@param n? integer default 1
---@return integer previous the count before
function Semaphore:release(n) end

---Closable: releases.
---@class neap.Permit
local Permit = {}

---@return boolean released true the first time
function Permit:release() end

---@class neap.Mutex
local Mutex = {}

---@return neap.Task # of a neap.Guard
---@nodiscard
function Mutex:lock() end

---@return neap.Guard | false
---@nodiscard
function Mutex:try_lock() end

---Closable: unlocks.
---@class neap.Guard
local Guard = {}

---Misuse when it has unlocked already, or by another task.
function Guard:unlock() end

---@class neap.Event
local Event = {}

---Wakes all that wait.
function Event:set() end

function Event:clear() end

---@return neap.Task
---@nodiscard
function Event:wait() end

---@return boolean
---@nodiscard
function Event:is_set() end

---@class neap.Condition
local Condition = {}

---Unlocks the mutex, waits for a notify, and locks the mutex again.
---@return neap.Task
---@nodiscard
function Condition:wait() end

---@param n? integer default 1
---@return integer woken
function Condition:notify(n) end

---@return integer woken
function Condition:notify_all() end

---Closable: ends the body and waits for its cleanup.
---@class neap.Stream
---@overload async fun(): ...
local Stream = {}

---A Task of the values of the next yield; of no values at the end.
---@return neap.Task
---@nodiscard
function Stream:next() end

---Done when the body has ended.
---@return neap.Task
function Stream:close() end

---@class neap.LocalVar
local LocalVar = {}

---@return any
---@nodiscard
function LocalVar:get() end

---For the current task, from now on.
---@param x any
function LocalVar:set(x) end

---Runs fn(...) with the value x; the one before is back on every way out.
---@async
---@param x any
---@param fn fun(...): ...
---@param ... any for fn
---@return any ...
function LocalVar:with(x, fn, ...) end

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

---@class neap.dns
local dns = {}

---@class neap.dns.ResolveOptions
---@field family? "ipv4" | "ipv6" default: both
---@field port? integer goes into the results
---@field all? boolean false: only the first

---@class neap.dns.Address
---@field address string
---@field family "ipv4" | "ipv6"
---@field port? integer

---The addresses of a name, each once, in the system's order.
---@param host string name or address
---@param opts? neap.dns.ResolveOptions
---@return neap.Task # of neap.dns.Address[]
---@nodiscard
function dns.resolve(host, opts) end

---@param address string
---@return neap.Task # of a string, the name of the address
---@nodiscard
function dns.reverse(address) end

---@class neap.signal
local signal = {}

---Listens from now on. In a generic for it is closed when the loop is left.
---@param name string "SIGHUP"
---@param ... string
---@return neap.Signals
---@return nil
---@return nil
---@return neap.Signals closing
---@nodiscard
function signal.on(name, ...) end

---@class neap.Signals
---@overload async fun(): string?
local Signals = {}

---@return neap.Task # of the name of a signal; of nil once it is closed
---@nodiscard
function Signals:next() end

---@return neap.Task
function Signals:close() end

---What a standard stream of a child is; "stdout" for stderr only.
---@alias neap.process.Stream "pipe" | "inherit" | "null" | "stdout" | neap.File | neap.Conn

---The command and its arguments are the list in it.
---@class neap.process.SpawnOptions
---@field [integer] string | number
---@field stdin? neap.process.Stream
---@field stdout? neap.process.Stream
---@field stderr? neap.process.Stream
---@field cwd? string
---@field env? table<string, string | number | false> put over our environment; false removes
---@field clear_env? boolean only what `env` has
---@field group? boolean it leads a group of its own; default false, of run true
---@field detached? boolean it is left alone
---@field grace? number seconds from SIGTERM to SIGKILL, default 5
---@field uid? integer
---@field gid? integer

---@class neap.process.RunOptions: neap.process.SpawnOptions
---@field input? string | neap.Buffer
---@field max_output? integer of stdout and stderr each, default 64 MiB
---@field check? boolean a code that is not 0 raises EEXIT

---@class neap.process.Result
---@field code integer 128 + n where signal n has ended it
---@field signal? string its name
---@field stdout? string
---@field stderr? string

---@class neap.process
local process = {}

---Runs a command to its end. Cancelled, it ends the child and all of its group.
---@param opts neap.process.RunOptions
---@return neap.Task # of a neap.process.Result
---@nodiscard
function process.run(opts) end

---@param opts neap.process.SpawnOptions
---@return neap.Task # of a neap.Process
---@nodiscard
function process.spawn(opts) end

---@param pid integer of a process; -pid of a group
---@param signal? string | integer default "SIGTERM"
function process.kill(pid, signal) end

---@class neap.Process
---@field pid integer
---@field stdin? neap.Conn
---@field stdout? neap.Conn
---@field stderr? neap.Conn
local Process = {}

---@return neap.Task # of its exit code, and of the signal's name if one ended it
---@nodiscard
function Process:wait() end

---@param signal? string | integer default "SIGTERM"
---@return boolean # false: it has ended
function Process:kill(signal) end

---Ends it: SIGTERM, after the grace SIGKILL.
---@return neap.Task
function Process:close() end

---@class neap.sqlite
---@field null lightuserdata stands for NULL in tables of parameters
---@field library_version string
local sqlite = {}

---@class neap.sqlite.Options
---@field readonly? boolean
---@field create? boolean default true
---@field readers? integer threads for queries, default 0
---@field busy_timeout? number seconds of real time, default 5
---@field wal? boolean default true
---@field synchronous? "off" | "normal" | "full" | "extra"
---@field foreign_keys? boolean default true

---What SQLite is given as a BLOB.
---@class neap.sqlite.Blob

---nil, boolean, number, string, neap.sqlite.blob(...) or neap.sqlite.null; instead of all others one table.
---@alias neap.sqlite.Value nil | boolean | number | string | neap.sqlite.Blob | lightuserdata | table

---Opens a database, a file or ":memory:".
---@param path string
---@param opts? neap.sqlite.Options
---@return neap.Task # of a neap.Database
---@nodiscard
function sqlite.open(path, opts) end

---A string that is stored as a BLOB instead of as TEXT.
---@param data string
---@return neap.sqlite.Blob
---@nodiscard
function sqlite.blob(data) end

---What a database has, too.
---@class neap.Transaction
local Transaction = {}

---@param sql string any number of statements; one if there are parameters
---@param ... neap.sqlite.Value
---@return neap.Task # of the number of changes and the last rowid
function Transaction:exec(sql, ...) end

---A statement for each set of parameters, all or nothing.
---@param sql string
---@param sets neap.sqlite.Value[]
---@return neap.Task # of the number of changes and the last rowid
function Transaction:exec_many(sql, sets) end

---@param sql string
---@param ... neap.sqlite.Value
---@return neap.Task # of a list of rows by name, with `columns`
---@nodiscard
function Transaction:query(sql, ...) end

---@param sql string
---@param ... neap.sqlite.Value
---@return neap.Task # of a list of rows by number, with `columns`
---@nodiscard
function Transaction:arrays(sql, ...) end

---@param sql string
---@param ... neap.sqlite.Value
---@return neap.Task # of the first row, or nil
---@nodiscard
function Transaction:first(sql, ...) end

---@param sql string
---@param ... neap.sqlite.Value
---@return neap.Task # of the first column of the first row, or nil
---@nodiscard
function Transaction:value(sql, ...) end

---`for row in db:rows(sql, ...) do`: batch by batch.
---@async
---@param sql string
---@param ... neap.sqlite.Value
---@return neap.Rows
---@nodiscard
function Transaction:rows(sql, ...) end

---Calls fn(tx, ...) in a transaction, commits and returns its results; an error and a cancellation roll back.
---@async
---@param opts { mode: string? } | fun(tx: neap.Transaction, ...): ... may be left out
---@param fn? fun(tx: neap.Transaction, ...): ...
---@param ... any for fn
---@return any ...
function Transaction:transaction(opts, fn, ...) end

---@class neap.Database: neap.Transaction
local Database = {}

---@return neap.Task
function Database:close() end

---@return string
---@nodiscard
function Database:path() end

---@class neap.Rows
---@overload fun(): table?
local Rows = {}

---Ends the query.
function Rows:close() end

---HTTP. What is written in Lua has its types there.
---@class neap.http
local http = {}

---What is the same for a request and a client.
---@class neap.http.Options
---@field headers? table<string, string | number | (string | number)[] | false>
---@field stream? boolean
---@field max_body? integer
---@field retry? integer | boolean | neap.http.Retry
---@field auth? string[] user and password
---@field max_redirects? integer
---@field compression? boolean
---@field connect_timeout? number
---@field idle_timeout? number
---@field http? "1.0" | "1.1" | "2" | "2-prior-knowledge"
---@field proxy? string | false
---@field no_proxy? string
---@field verify? boolean
---@field ca_file? string
---@field ca_path? string
---@field cert? string
---@field key? string
---@field key_password? string
---@field unix_socket? string
---@field resolve? table<string, string>

---@class neap.http.RequestOptions: neap.http.Options
---@field query? table | string
---@field body? string | fun(): string?
---@field length? integer
---@field form? table | string
---@field json? any
---@field multipart? table

---@class neap.http.ClientOptions: neap.http.Options
---@field base_url? string
---@field user_agent? string
---@field max_connections? integer
---@field max_host_connections? integer
---@field cookies? boolean | string[]

---@class neap.http.Retry
---@field attempts? integer
---@field delay? number
---@field max_delay? number
---@field statuses? integer[]
---@field methods? string[]
---@field random? fun(): number
---@field on_retry? fun(attempt: integer, result: any, delay: number)

---@param url string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.get(url, opts) end

---@param url string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.head(url, opts) end

---@param url string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.post(url, opts) end

---@param url string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.put(url, opts) end

---@param url string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.patch(url, opts) end

---@param url string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.delete(url, opts) end

---@param url string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.options(url, opts) end

---@param method string | table
---@param url? string
---@param opts? neap.http.RequestOptions
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.request(method, url, opts) end

---@param opts? neap.http.ClientOptions
---@return neap.http.Client
---@nodiscard
function http.client(opts) end

---Calls fn(attempt) again while what it gives is worth it.
---@param fn fun(attempt: integer): neap.http.Response
---@param opts? integer | neap.http.Retry
---@return neap.Task # of a neap.http.Response
---@nodiscard
function http.retry(fn, opts) end

---@class neap.stdio
---@field stdin neap.Conn | neap.File | neap.Tty
---@field stdout neap.Conn | neap.File | neap.Tty
---@field stderr neap.Conn | neap.File | neap.Tty
local stdio = {}

---@param name "stdin" | "stdout" | "stderr"
---@return boolean
---@nodiscard
function stdio.is_tty(name) end

---A terminal.
---@class neap.Tty: neap.Conn
local Tty = {}

---@return integer columns
---@return integer rows
---@nodiscard
function Tty:size() end

---@param mode "normal" | "raw" | "io"
function Tty:set_mode(mode) end

---@class neap.fs
local fs = {}

---@param path string
---@return neap.Task # of a string
---@nodiscard
function fs.read_file(path) end

---Permissions: an integer, "644" or "rw-r--r--".
---@alias neap.fs.Mode integer | string

---Creates or replaces.
---@param path string
---@param data string | number | neap.Buffer
---@param opts? { mode?: neap.fs.Mode, atomic?: boolean, sync?: boolean } mode: of a new file
---@return neap.Task
function fs.write_file(path, data, opts) end

---Creates, or writes behind what is there.
---@param path string
---@param data string | number | neap.Buffer
---@param opts? { mode?: neap.fs.Mode, sync?: boolean } mode: of a new file
---@return neap.Task
function fs.append_file(path, data, opts) end

---@param from string
---@param to string
---@param opts? { overwrite?: boolean } default true
---@return neap.Task
function fs.copy_file(from, to, opts) end

---@class neap.fs.Entry
---@field name string
---@field type "file" | "directory" | "link" | "fifo" | "socket" | "char" | "block" | "unknown"

---@param path string
---@return neap.Task # of neap.fs.Entry[], sorted by name
---@nodiscard
function fs.list(path) end

---@class neap.fs.WalkEntry: neap.fs.Entry
---@field path string
---@field depth integer 1 for what is in the directory itself

---@class neap.fs.WalkOptions
---@field follow? boolean enter what links point to
---@field max_depth? integer
---@field filter? fun(entry: neap.fs.WalkEntry): boolean? false: neither it nor what is below
---@field on_error? fun(err: any, path: string) instead of raising what a directory's reading raised

---An iterator of neap.fs.WalkEntry, parents first, sorted by name.
---@param path string
---@param opts? neap.fs.WalkOptions
---@return neap.Stream
---@return nil
---@return nil
---@return neap.Stream closing
---@nodiscard
function fs.walk(path, opts) end

---@param path string
---@param opts? { mode?: neap.fs.Mode, parents?: boolean }
---@return neap.Task
function fs.mkdir(path, opts) end

---A link is removed, never followed.
---@param path string
---@param opts? { recursive?: boolean, missing_ok?: boolean }
---@return neap.Task
function fs.remove(path, opts) end

---@param from string
---@param to string
---@return neap.Task
function fs.rename(from, to) end

---@param target string
---@param path string
---@return neap.Task
function fs.link(target, path) end

---@param target string any text
---@param path string
---@return neap.Task
function fs.symlink(target, path) end

---@param path string
---@return neap.Task # of a string
---@nodiscard
function fs.readlink(path) end

---@param path string
---@return neap.Task # of a string
---@nodiscard
function fs.realpath(path) end

---@class neap.fs.Stat
---@field type "file" | "directory" | "link" | "fifo" | "socket" | "char" | "block" | "unknown"
---@field size integer
---@field mode integer permissions
---@field uid integer
---@field gid integer
---@field dev integer
---@field rdev integer
---@field ino integer
---@field nlink integer
---@field blksize integer
---@field blocks integer
---@field atime number
---@field mtime number
---@field ctime number
---@field birthtime? number

---@param path string
---@return neap.Task # of a neap.fs.Stat
---@nodiscard
function fs.stat(path) end

---@param path string
---@return neap.Task # of a neap.fs.Stat
---@nodiscard
function fs.lstat(path) end

---@class neap.fs.Statfs
---@field type integer
---@field bsize integer
---@field blocks integer
---@field bfree integer
---@field bavail integer
---@field files integer
---@field ffree integer

---@param path string
---@return neap.Task # of a neap.fs.Statfs
---@nodiscard
function fs.statfs(path) end

---@param path string
---@param mode? string letters of "rwx"; none: whether it is there
---@return neap.Task # of a boolean
---@nodiscard
function fs.access(path, mode) end

---@param path string
---@param mode neap.fs.Mode
---@return neap.Task
function fs.chmod(path, mode) end

---@param path string
---@param uid? integer nil: as it is
---@param gid? integer
---@param opts? { follow?: boolean } default true
---@return neap.Task
function fs.chown(path, uid, gid, opts) end

---@param path string
---@param atime? number nil: now
---@param mtime? number
---@param opts? { follow?: boolean } default true
---@return neap.Task
function fs.utime(path, atime, mtime, opts) end

---@param path string
---@param size? integer default 0
---@return neap.Task
function fs.truncate(path, size) end

---@param prefix? string with a slash: where it says; else in TMPDIR or /tmp
---@return neap.Task # of a string
---@nodiscard
function fs.mkdtemp(prefix) end

---Open for reading and writing; removed when it is closed.
---@param opts? { prefix?: string, dir?: string, mode?: neap.fs.Mode }
---@return neap.Task # of a neap.File
---@nodiscard
function fs.temp_file(opts) end

---@class neap.TempDir
---@field path string
local TempDir = {}

---@return neap.Task
function TempDir:close() end

---Removed with all that is in it when it is closed.
---@param opts? { prefix?: string, dir?: string }
---@return neap.Task # of a neap.TempDir
---@nodiscard
function fs.temp_dir(opts) end

---@param path string
---@param mode? string "r" (default), "w", "a", "r+", "w+", "a+"; with "x" to create it only
---@param opts? { mode?: integer | string, unlink_at_close?: boolean } mode: permissions of a new file
---@return neap.Task # of a neap.File
---@nodiscard
function fs.open(path, mode, opts) end

---Listens to changes of a file, or of a directory and what is in it.
---@param path string
---@param opts? { recursive?: boolean } recursive: and of all that is below it
---@return neap.Task # of a neap.Watcher
---@nodiscard
function fs.watch(path, opts) end

---@class neap.WatchEvent
---@field name? string relative to the watched directory
---@field path? string
---@field type? "change" | "rename" "rename": made, removed or renamed
---@field overflow? true events were lost here; the other fields are nil

---@class neap.Watcher
---@overload async fun(): neap.WatchEvent?
local Watcher = {}

---@return neap.Task # of a neap.WatchEvent; of nil once it is closed
---@nodiscard
function Watcher:next() end

---@return neap.Task
function Watcher:close() end

---Strings in order: `for chunk in file do`.
---@class neap.File
---@operator call: string?
local File = {}

---What there is, `n` bytes at most.
---@param n? integer default 65536
---@return neap.Task # of a string; of nil at the end
---@nodiscard
function File:read(n) end

---Fails with EOF at an earlier end; err.partial is what came.
---@param n integer
---@return neap.Task # of a string of n bytes
---@nodiscard
function File:read_exactly(n) end

---@param delimiter string
---@param max? integer bytes before it, default 1 MiB; ETOOLARGE when there are more
---@return neap.Task # of a string without the delimiter; of nil at the end
---@nodiscard
function File:read_until(delimiter, max) end

---@param max? integer bytes, default 1 MiB; ETOOLARGE when there are more
---@return neap.Task # of a line without "\n" or "\r\n"; of nil at the end
---@nodiscard
function File:read_line(max) end

---@param max? integer bytes, default no limit; ETOOLARGE when there are more
---@return neap.Task # of a string, "" at the end
---@nodiscard
function File:read_all(max) end

---What there is, put into the Buffer: it is there when the Task is done.
---@param buf neap.Buffer writable
---@param pos? integer default 1
---@param n? integer bytes at most, default up to the end of the Buffer
---@return neap.Task # of the number of bytes; of nil at the end
---@nodiscard
function File:read_into(buf, pos, n) end

---@async
---@param max? integer bytes of a line, default 1 MiB
---@return fun(): string?
function File:lines(max) end

---At a place of its own, whatever the file's position; several may be under way.
---@param position integer
---@param n integer
---@return neap.Task # of a string, shorter at the end; of nil there
---@nodiscard
function File:read_at(position, n) end

---@param ... string | number | neap.Buffer
---@return neap.Task # of the number of bytes
function File:write(...) end

---At a place of its own in the file, put into the Buffer.
---@param position integer
---@param buf neap.Buffer writable
---@param pos? integer default 1
---@param n? integer default up to the end of the Buffer
---@return neap.Task # of the number of bytes, fewer at the end; of nil there
---@nodiscard
function File:read_at_into(position, buf, pos, n) end

---@param position integer
---@param ... string | number | neap.Buffer
---@return neap.Task # of the number of bytes
function File:write_at(position, ...) end

---@param whence? "set" | "cur" | "end" default "cur"
---@param offset? integer default 0
---@return neap.Task # of the new position
function File:seek(whence, offset) end

---@param size? integer default: the position
---@return neap.Task
function File:truncate(size) end

---Done when the system has it on the disk.
---@param opts? { data?: boolean } data: without the times
---@return neap.Task
function File:sync(opts) end

---As neap.fs.stat.
---@return neap.Task # of a neap.fs.Stat
---@nodiscard
function File:stat() end

---@param mode integer | string
---@return neap.Task
function File:chmod(mode) end

---@param atime? number seconds since 1970, default: now
---@param mtime? number
---@return neap.Task
function File:utime(atime, mtime) end

---@return string # as it was opened
---@nodiscard
function File:path() end

---@return neap.Task
function File:close() end

---@class neap.net
local net = {}

---@class neap.ConnectOptions
---@field host? string name or address
---@field port? integer
---@field path? string of a Unix socket, "@name" for an abstract one
---@field family? "ipv4" | "ipv6" default: both
---@field nodelay? boolean Nagle's algorithm is off, default true
---@field keepalive? integer seconds of silence before the first probe; default 0: none
---@field local_host? string address to connect from
---@field local_port? integer
---@field tls? true | neap.tls.Context | neap.tls.ConnectOptions

---@param host string | neap.ConnectOptions name or address; or all in one table
---@param port? integer
---@param opts? neap.ConnectOptions
---@return neap.Task # of a neap.Conn
---@nodiscard
function net.connect(host, port, opts) end

---@class neap.ListenOptions
---@field host? string name or address, "*" for all
---@field port? integer 0: a free one
---@field path? string of a Unix socket, "@name" for an abstract one
---@field backlog? integer connections that wait to be accepted, default 511
---@field family? "ipv4" | "ipv6" of a name, default: the first that it has
---@field reuse_port? boolean several servers at one port share the connections
---@field ipv6_only? boolean
---@field mode? integer | string permissions of the Unix socket
---@field unlink? boolean a Unix socket that nobody listens to any more is replaced
---@field tls? neap.tls.Context | neap.tls.ServerOptions

---@param host string | neap.ListenOptions name or address; or all in one table
---@param port? integer 0: a free one
---@param opts? neap.ListenOptions
---@return neap.Task # of a neap.Server
---@nodiscard
function net.listen(host, port, opts) end

---@class neap.ServeOptions: neap.ListenOptions
---@field server? neap.Server one that listens already
---@field limit? integer open connections at once, default: no limit
---@field grace? number seconds that open connections have when it ends, default 5
---@field handshake_timeout? number seconds, of TLS, default 10
---@field on_listen? fun(server: neap.Server)
---@field on_stop? fun() it accepts no more, and the grace begins
---@field on_error? fun(err: any, conn: neap.Conn?) default: neap.on_unobserved

---Serves connections until it is cancelled or its server is closed. Cancelling stops the accepting at once; open
---connections have `opts.grace` seconds, then they are cancelled, too.
---@param opts neap.ServeOptions
---@param handler async fun(conn: neap.Conn) run as a task for each connection, which is closed when it ends
---@return neap.Task
function net.serve(opts, handler) end

---@class neap.UdpOptions
---@field host? string address or name of this machine; default: all, of IPv4 and IPv6
---@field port? integer default 0: a free one
---@field reuse_address? boolean
---@field reuse_port? boolean
---@field ipv6_only? boolean
---@field broadcast? boolean

---@param opts? neap.UdpOptions
---@return neap.Task # of a neap.Udp
---@nodiscard
function net.udp(opts) end

---A socket for datagrams: `for data, host, port in udp do`.
---@class neap.Udp
---@operator call: string?
local Udp = {}

---One datagram; without host and port to where the socket is connected.
---@param data string | number | neap.Buffer
---@param host? string address or name
---@param port? integer
---@return neap.Task # of the number of bytes
function Udp:send(data, host, port) end

---@param max? integer bytes of it at most; default: all
---@return neap.Task # of data, host, port, and whether it was longer than max
---@nodiscard
function Udp:recv(max) end

---Sends there, and receives from there alone.
---@param host string address or name
---@param port integer
---@return neap.Task
function Udp:connect(host, port) end

function Udp:disconnect() end

---@param group string address
---@param interface? string address of this machine
function Udp:join(group, interface) end

---@param group string address
---@param interface? string
function Udp:leave(group, interface) end

---@param on boolean
function Udp:set_broadcast(on) end

---@param hops integer 1 to 255
function Udp:set_ttl(hops) end

---@param hops integer 1 to 255
function Udp:set_multicast_ttl(hops) end

---@param on boolean
function Udp:set_multicast_loop(on) end

---@param address? string of this machine; nil: the system's choice
function Udp:set_multicast_interface(address) end

---@return string host
---@return integer port
---@nodiscard
function Udp:address() end

---@return string host
---@return integer port
---@nodiscard
function Udp:peer() end

---@return neap.Task
function Udp:close() end

---@class neap.Server
---@operator call: neap.Conn?
local Server = {}

---@return neap.Task # of a neap.Conn
---@nodiscard
function Server:accept() end

---@return string host or path
---@return integer? port
---@nodiscard
function Server:address() end

---@return boolean
---@nodiscard
function Server:is_closed() end

---@return neap.Task
function Server:close() end

---Bytes in order: `for chunk in conn do`.
---@class neap.Conn
---@operator call: string?
local Conn = {}

---What there is, `n` bytes at most.
---@param n? integer default 65536
---@return neap.Task # of a string; of nil at the end
---@nodiscard
function Conn:read(n) end

---Fails with EOF at an earlier end; err.partial is what came.
---@param n integer
---@return neap.Task # of a string of n bytes
---@nodiscard
function Conn:read_exactly(n) end

---@param delimiter string
---@param max? integer bytes before it, default 1 MiB; ETOOLARGE when there are more
---@return neap.Task # of a string without the delimiter; of nil at the end
---@nodiscard
function Conn:read_until(delimiter, max) end

---@param max? integer bytes, default 1 MiB; ETOOLARGE when there are more
---@return neap.Task # of a line without "\n" or "\r\n"; of nil at the end
---@nodiscard
function Conn:read_line(max) end

---@param max? integer bytes, default 64 MiB; ETOOLARGE when there are more
---@return neap.Task # of a string, "" at the end
---@nodiscard
function Conn:read_all(max) end

---What there is, put into the Buffer: it is there when the Task is done.
---@param buf neap.Buffer writable
---@param pos? integer default 1
---@param n? integer bytes at most, default up to the end of the Buffer
---@return neap.Task # of the number of bytes; of nil at the end
---@nodiscard
function Conn:read_into(buf, pos, n) end

---@async
---@param max? integer bytes of a line, default 1 MiB
---@return fun(): string?
function Conn:lines(max) end

---@param ... string | number | neap.Buffer
---@return neap.Task # of the number of bytes
function Conn:write(...) end

---Ends this direction after what was written.
---@return neap.Task
function Conn:shutdown() end

---@return neap.Task
function Conn:close() end

---Closes with a reset, of which the peer's reads and writes fail.
---@return neap.Task
function Conn:reset() end

---@return string host or path
---@return integer? port
---@nodiscard
function Conn:peer() end

---@return string host or path
---@return integer? port
---@nodiscard
function Conn:address() end

---@param on boolean Nagle's algorithm is off
function Conn:set_nodelay(on) end

---@param on boolean
---@param seconds? number of silence before the first probe, default 60
function Conn:set_keepalive(on, seconds) end

---@return integer # the descriptor; it stays the connection's
---@nodiscard
function Conn:fd() end

---Goes on with TLS, as a client or, with `server = true`, as a server.
---@param opts? true | neap.tls.Context | neap.tls.StartOptions
---@return neap.Task # done after the handshake
function Conn:start_tls(opts) end

---@return neap.Task # done when reads and writes are protected
function Conn:handshake() end

---@return boolean
---@nodiscard
function Conn:is_tls() end

---@return neap.tls.Info? # nil without TLS, or before its handshake is done
---@nodiscard
function Conn:tls() end

---@return string? # resumes the session; nil until the server has given one
---@nodiscard
function Conn:tls_session() end

-- neap.tls --------------------------------------------------------------------------------------

---@class neap.tls
local tls = {}

---What connections share; made by neap.tls.context.
---@class neap.tls.Context

---@class neap.tls.Certificate
---@field cert string PEM, or the path of its file
---@field key? string the same; default: in `cert`
---@field password? string of the key

---@class neap.tls.Options
---@field verify? boolean the server's certificate, default true
---@field ca? string whom to trust, PEM or the path of its file; default: the system's
---@field ca_path? string a directory
---@field cert? string PEM, or the path of its file
---@field key? string the same; default: in `cert`
---@field password? string of the key
---@field alpn? string[] application protocols, by preference
---@field min_version? "1.2" | "1.3"
---@field max_version? "1.2" | "1.3"
---@field client_auth? boolean | "optional" a server wants certificates of clients
---@field sni? table<string, neap.tls.Certificate | neap.tls.Context> of other names of a server
---@field allow_truncated? boolean an end that was not announced is an ordinary end

---@class neap.tls.ConnectOptions: neap.tls.Options
---@field context? neap.tls.Context instead of its options
---@field server_name? string that is verified and asked for
---@field session? string of conn:tls_session()

---@class neap.tls.StartOptions: neap.tls.ConnectOptions
---@field server? boolean

---@class neap.tls.ServerOptions: neap.tls.Options
---@field context? neap.tls.Context instead of its options

---@class neap.tls.Peer
---@field subject string
---@field issuer string
---@field serial string
---@field names string[]
---@field fingerprint string SHA-256, "AB:CD:..."
---@field not_before integer seconds since 1970
---@field not_after integer

---@class neap.tls.Info
---@field version string
---@field cipher string
---@field alpn? string
---@field server_name? string
---@field session_reused boolean
---@field peer? neap.tls.Peer

---Reads certificates once, and keeps the sessions of servers that were visited.
---@param opts? neap.tls.Options
---@return neap.tls.Context
---@nodiscard
function tls.context(opts) end
-- workers -----------------------------------------------------------------------------------------

---@class neap.worker
local worker = {}

---Runs a function on another thread: a Task of its results. It gets copies of the arguments and of its
---upvalues.
---@param fn (fun(...): ...) | string a function of Lua, or "module.function", which is required there
---@param ... any for fn
---@return neap.Task
---@nodiscard
function worker.run(fn, ...) end

---What is as neap.worker, but runs jobs in another way.
---@param opts neap.WorkerOptions
---@return { run: fun(fn: (fun(...): ...) | string, ...): neap.Task }
---@nodiscard
function worker.with(opts) end

---@class neap.WorkerOptions
---@field pool? neap.Pool where they run
---@field loop? boolean they may await
---@field abandon? boolean a cancelled one is left to itself instead of waited for

---A pool of threads of its own.
---@param size integer how many threads at most
---@return neap.Pool
---@nodiscard
function worker.pool(size) end

---How many threads a pool has at most; nil: the one that all jobs share that name none.
---@param pool? neap.Pool
---@return integer
function worker.size(pool) end

---Integers that threads share.
---@param n integer how many
---@return neap.Counters
---@nodiscard
function worker.counters(n) end

---A channel between threads.
---@param capacity? integer of items that are buffered; nil, math.huge: any number
---@return neap.ThreadChannel
---@nodiscard
function worker.channel(capacity) end

---@class neap.Pool
local Pool = {}

---The same as worker.run, on a thread of this pool.
---@param fn (fun(...): ...) | string
---@param ... any for fn
---@return neap.Task
---@nodiscard
function Pool:run(fn, ...) end

---How many threads it has at most.
---@return integer
function Pool:size() end

---Takes no more jobs; its threads end when those that it has have ended.
---@return neap.Task done then
function Pool:close() end

---@class neap.Counters
---@operator len: integer
local Counters = {}

---@param i integer
---@return integer
function Counters:get(i) end

---@param i integer
---@param value integer
function Counters:set(i, value) end

---Adds, and wraps around as integers do.
---@param i integer
---@param n? integer default: 1
---@return integer value the new one
function Counters:add(i, n) end

---@param i integer
---@param value integer
---@return integer former
function Counters:exchange(i, value) end

---Sets it if it is the comparand.
---@param i integer
---@param value integer
---@param comparand integer
---@return integer former
function Counters:compare_exchange(i, value, comparand) end

---Makes it the smaller of itself and the value.
---@param i integer
---@param value integer
---@return integer smaller
function Counters:min(i, value) end

---Makes it the greater of itself and the value.
---@param i integer
---@param value integer
---@return integer greater
function Counters:max(i, value) end

-- WebSocket ---------------------------------------------------------------------------------------

---WebSocket: clients, and servers within neap.http.serve.
---@class neap.websocket
local websocket = {}

---@class neap.websocket.Options
---@field max_message? number bytes, default 16 MiB; math.huge: any
---@field ping? number seconds of silence before the peer is asked; default: never
---@field ping_timeout? number seconds for its answer, default as ping
---@field close_timeout? number seconds for a closing handshake, default 5

---@class neap.websocket.ConnectOptions: neap.websocket.Options
---@field headers? table<string, string|number|(string|number)[]>
---@field protocols? string[]
---@field tls? true | neap.tls.Context | neap.tls.ConnectOptions for wss://, default true
---@field timeout? number seconds for all of it, default 30

---@param url string ws:// or wss://
---@param opts? neap.websocket.ConnectOptions
---@return neap.Task # of a neap.WebSocket
---@nodiscard
function websocket.connect(url, opts) end

---@class neap.websocket.AcceptOptions: neap.websocket.Options
---@field origins? string|string[]|fun(origin: string?, req: neap.http.ServerRequest): boolean default: of this host
---@field protocols? string[]
---@field headers? table<string, string|number|(string|number)[]>

---Takes over the connection of a request, or answers why not.
---@param req neap.http.ServerRequest
---@param opts? neap.websocket.AcceptOptions
---@return neap.Task # of a neap.WebSocket; nil and an error where it was refused
---@nodiscard
function websocket.accept(req, opts) end

---Messages both ways: `for message, kind in ws do`.
---@class neap.WebSocket
---@operator call: string?
local WebSocket = {}

---@param text string | number | neap.Buffer in UTF-8
---@return neap.Task
function WebSocket:send(text) end

---@param bytes string | number | neap.Buffer
---@return neap.Task
function WebSocket:send_binary(bytes) end

---@return neap.Task # of the message and "text" or "binary"; at the end of nil, code, reason
---@nodiscard
function WebSocket:recv() end

---@return neap.Task # of the seconds until the peer has answered
function WebSocket:ping() end

---@param code? integer default 1000
---@param reason? string
---@return neap.Task # of the peer's code and reason
function WebSocket:close(code, reason) end

---@return string? # the subprotocol
function WebSocket:protocol() end

---@return string host
---@return integer? port
function WebSocket:peer() end

---@return boolean # nothing can be sent any more
function WebSocket:is_closed() end

-- parallel loops ----------------------------------------------------------------------------------

---@class neap.ParallelOptions
---@field workers? integer how many jobs share the loop; default: the threads of the pool
---@field chunk? integer indices or items that a worker takes at a time
---@field pool? neap.Pool
---@field combine? fun(a: any, b: any): any of reduce

---@class neap.parallel
local parallel = {}

---Calls fn(i, loop) on other threads for each i from lo to hi, once, in no certain order.
---@param lo integer
---@param hi integer
---@param fn fun(i: integer, loop: neap.ParallelLoop)
---@param opts? neap.ParallelOptions
---@return neap.Task # of { completed: boolean, lowest_break: integer? }
function parallel.range(lo, hi, fn, opts) end

---The first results of fn(item, index), in the order of the list, with n.
---@param list any[]
---@param fn fun(item: any, index: integer): any
---@param opts? neap.ParallelOptions
---@return neap.Task # of { n: integer, [integer]: any }
---@nodiscard
function parallel.map(list, fn, opts) end

---Folds the list chunk by chunk, from left to right; fn must be associative.
---@param list any[]
---@param fn fun(result: any, item: any): any
---@param init any
---@param opts? neap.ParallelOptions with combine, where results and items are of two kinds
---@return neap.Task
---@nodiscard
function parallel.reduce(list, fn, init, opts) end

---Runs the functions at the same time: their first results, with n.
---@param ... fun(): any
---@return neap.Task # of { n: integer, [integer]: any }
function parallel.invoke(...) end

---@class neap.ParallelLoop
local ParallelLoop = {}

---Nothing above this index is begun any more; all below it run.
function ParallelLoop:break_() end

---Nothing is begun any more.
function ParallelLoop:stop() end

---Whether this call might as well return.
---@return boolean
---@nodiscard
function ParallelLoop:should_exit() end

-- servers on all processors -----------------------------------------------------------------------

---@class neap.CoresOptions: neap.ServeOptions
---@field module string the name of a module that each worker requires
---@field workers? integer default: one for each processor
---@field on_listen? fun(cores: neap.Cores) called once, when all workers listen
---@field on_error? fun(err: any, number: integer) an error of a handler, and the number of its worker

---Serves on all processors: each worker is a thread with a loop and a Lua state, and listens to the same port.
---@param opts neap.CoresOptions
---@return neap.Task ends when it is cancelled
function neap.serve_cores(opts) end

---@class neap.CoreCounts
---@field connections integer so far
---@field open integer
---@field errors integer of handlers
---@field requests integer
---@field memory integer bytes of its Lua state when it was last looked at

---@class neap.Cores
local Cores = {}

---Where it listens.
---@return string host
---@return integer port
---@nodiscard
function Cores:address() end

---How many workers there are.
---@return integer
---@nodiscard
function Cores:workers() end

---What each worker has done so far, and all of them together.
---@return { [integer]: neap.CoreCounts, total: neap.CoreCounts }
---@nodiscard
function Cores:stats() end

---@class neap.CoreStats
local CoreStats = {}

---Adds to one of this worker's counters.
---@param name "connections"|"open"|"errors"|"requests"
---@param n? integer default 1
function CoreStats:add(name, n) end

-- require "neap.testing" ------------------------------------------------------------------------


---@class neap.http.ServeOptions: neap.ServeOptions
---@field handler? neap.http.Handler
---@field max_header? number bytes of a head, default 16 KiB
---@field max_body? number bytes of a body, default 16 MiB; math.huge: any
---@field header_timeout? number seconds for a head, default 20
---@field idle_timeout? number seconds in which nothing moves, default 60
---@field cancel_on_disconnect? boolean default true: a client that leaves cancels the handler
---@field on_error? fun(err: any, req: neap.http.ServerRequest|neap.Conn|nil) default: neap.on_unobserved

---What it returns is the response: a body (a string, or a table for JSON), a status, both, headers behind them, or a
---Task of these.
---@alias neap.http.Handler async fun(req: neap.http.ServerRequest, res: neap.http.ServerResponse): ...

---Serves HTTP/1.1 until it is cancelled or its server is closed; then requests under way are answered.
---@param opts neap.http.ServeOptions
---@param handler? neap.http.Handler
---@return neap.Task
function http.serve(opts, handler) end

---@class neap.http.FilesOptions
---@field index? string|false default "index.html"
---@field hidden? boolean names that begin with a dot, too
---@field max_age? integer seconds for Cache-Control

---A handler for the files below a directory.
---@param directory string
---@param opts? neap.http.FilesOptions
---@return neap.http.Handler
---@nodiscard
function http.files(directory, opts) end

---A request; over when its handler has ended.
---@class neap.http.ServerRequest
---@field method string
---@field path string decoded
---@field target string as it was sent
---@field query table<string, string> the first value of each name, decoded
---@field headers table<string, string> by names in any case
---@field version "1.1" | "1.0"
---@field length integer? of the body, where it was told
---@overload async fun(): string? the body as it comes: `for chunk in req do`
local Request = {}

---One header; values of the same name are joined.
---@param name string
---@return string?
---@nodiscard
function Request:header(name) end

---@param name string
---@return string[]
---@nodiscard
function Request:header_values(name) end

---@param name string
---@return string[]
---@nodiscard
function Request:query_values(name) end

---The rest of the body.
---@param max? integer
---@return neap.Task<string>
function Request:text(max) end

---The rest of the body, which is JSON.
---@param max? integer
---@return neap.Task
function Request:json(max) end

---What there is, n bytes at most; nil at the end.
---@param n? integer
---@return neap.Task<string?>
function Request:read(n) end

---@param n integer
---@return neap.Task<string>
function Request:read_exactly(n) end

---@param delimiter string
---@param max? integer
---@return neap.Task<string?>
function Request:read_until(delimiter, max) end

---@param max? integer
---@return neap.Task<string?>
function Request:read_line(max) end

---@param max? integer
---@return neap.Task<string>
function Request:read_all(max) end

---What there is goes into a buffer; nil at the end.
---@param buffer neap.Buffer
---@param pos? integer
---@param n? integer
---@return neap.Task<integer?>
function Request:read_into(buffer, pos, n) end

---@param max? integer
---@return async fun(): string?
---@nodiscard
function Request:lines(max) end

---Host and port of the client.
---@return string host
---@return integer? port
function Request:peer() end

---What is known of the TLS of its connection, such as the certificate of the client.
---@return neap.tls.Info? # nil without TLS
---@nodiscard
function Request:tls() end

---A response; over when its handler has ended.
---@class neap.http.ServerResponse
---@field status integer?
---@field is_sent boolean
local Response = {}

---Sets a header; with nil takes it away; with the name alone gives what was set.
---@param name string
---@param value? string|number
---@return string?
function Response:header(name, value) end

---@param name string
---@param value string|number
function Response:add_header(name, value) end

---The whole response.
---@param status? integer|string
---@param body? string
---@overload fun(self: neap.http.ServerResponse, body?: string)
function Response:send(status, body) end

---@param status integer
---@param value any
---@overload fun(self: neap.http.ServerResponse, value: any)
function Response:json(status, value) end

---@param location string
---@param status? integer default 302
function Response:redirect(location, status) end

---A file, with its type, tag and date.
---@param path string
---@param opts? { type: string?, max_age: integer? }
---@return neap.Task
function Response:file(path, opts) end

---A piece of the body.
---@param ... string|number
---@return neap.Task
function Response:write(...) end

---The body ends here.
function Response:finish() end

---@class neap.testing
local testing = {}

---@class neap.testing.Options
---@field clock? "virtual" | "real" default "virtual"
---@field timeout? number seconds of the clock; default 3600, of the real one 10

---A function that runs fn(clock) as the main task, and fails if anything was left alive or lost.
---@param fn async fun(clock: neap.Clock?)
---@param opts? neap.testing.Options
---@return fun()
---@nodiscard
function testing.async(fn, opts) end

---busted's it, for a function that awaits.
---@param title string
---@param fn async fun(clock: neap.Clock?)
---@param opts? neap.testing.Options
function testing.it(title, fn, opts) end

---@param fn async fun(clock: neap.Clock?)
---@param opts? neap.testing.Options
function testing.before_each(fn, opts) end

---@param fn async fun(clock: neap.Clock?)
---@param opts? neap.testing.Options
function testing.after_each(fn, opts) end

---Done when no other task is ready, before time jumps.
---@return neap.Task
---@nodiscard
function testing.wait_all_blocked() end

---What is alive, such as "tasks=1 timers=2"; nil if nothing is.
---@param before? table<string, integer> what count() returned: only what came since
---@return string?
---@nodiscard
function testing.leaks(before) end

---How much of each kind is alive: tasks, operations, timers, scopes, handles, pins.
---@return table<string, integer>
---@nodiscard
function testing.count() end

---Repeats fn with the core's allocation 1, 2, 3, ... failing.
---@param fn fun()
function testing.each_failure(fn) end

---@class neap.testing.ExploreOptions: neap.testing.Options
---@field seeds? integer how many orders, default 100
---@field seed? integer only this one; also NEAP_SEED in the environment

---Runs fn(clock) under many orders of the tasks that are ready.
---@param fn async fun(clock: neap.Clock?)
---@param opts? neap.testing.ExploreOptions
function testing.explore(fn, opts) end

-- neap.compat -------------------------------------------------------------------------------------

---LuaSocket's interface: `require "neap.compat.socket"`.
---@class neap.compat.socket
---@field dns neap.compat.socket.dns
---@field BLOCKSIZE integer
local compat_socket = {}

---From then on `require "socket"` gives this module.
---@return neap.compat.socket
function compat_socket.install() end

---@return neap.compat.Tcp
---@nodiscard
function compat_socket.tcp() end

---@return neap.compat.Tcp
---@nodiscard
function compat_socket.tcp4() end

---@return neap.compat.Tcp
---@nodiscard
function compat_socket.tcp6() end

---@return neap.compat.Datagrams
---@nodiscard
function compat_socket.udp() end

---@return neap.compat.Datagrams
---@nodiscard
function compat_socket.udp4() end

---@return neap.compat.Datagrams
---@nodiscard
function compat_socket.udp6() end

---@async
---@param host string
---@param port integer | string
---@param local_host? string
---@param local_port? integer | string
---@param family? "inet" | "inet6" | "unspec"
---@return neap.compat.Tcp?
---@return string? why
function compat_socket.connect(host, port, local_host, local_port, family) end

---@async
---@param host string
---@param port integer | string
---@param local_host? string
---@param local_port? integer | string
---@return neap.compat.Tcp?
---@return string? why
function compat_socket.connect4(host, port, local_host, local_port) end

---@async
---@param host string
---@param port integer | string
---@param local_host? string
---@param local_port? integer | string
---@return neap.compat.Tcp?
---@return string? why
function compat_socket.connect6(host, port, local_host, local_port) end

---@async
---@param host string
---@param port integer | string
---@param backlog? integer
---@return neap.compat.Tcp?
---@return string? why
function compat_socket.bind(host, port, backlog) end

---@async
---@param receivers? (neap.compat.Tcp | neap.compat.Datagrams)[]
---@param senders? (neap.compat.Tcp | neap.compat.Datagrams)[]
---@param timeout? number
---@return table readable
---@return table writable
---@return "timeout"?
function compat_socket.select(receivers, senders, timeout) end

---@async
---@param seconds number
function compat_socket.sleep(seconds) end

---@return number seconds
function compat_socket.gettime() end

---@param finalizer? fun()
---@return fun(...): ...
function compat_socket.newtry(finalizer) end

---@param ... any
---@return any ...
function compat_socket.try(...) end

---@param fn fun(...): ...
---@return fun(...): ...
function compat_socket.protect(fn) end

---@param n integer
---@param ... any
---@return any ...
function compat_socket.skip(n, ...) end

---@param makers table<string, function>
---@return function
function compat_socket.choose(makers) end

---@param mode string
---@param sock neap.compat.Tcp
---@return function
function compat_socket.sink(mode, sock) end

---@param mode string
---@param sock neap.compat.Tcp
---@param length? integer
---@return function
function compat_socket.source(mode, sock, length) end

---@class neap.compat.socket.dns
local compat_dns = {}

---@async
---@param name string
---@return string?
---@return table | string
function compat_dns.toip(name) end

---@async
---@param address string
---@return string?
---@return table | string
function compat_dns.tohostname(address) end

---@async
---@param name string
---@return { family: "inet" | "inet6", addr: string }[]?
---@return string? why
function compat_dns.getaddrinfo(name) end

---@async
---@param host string
---@return string[]?
---@return string? why
function compat_dns.getnameinfo(host) end

---@return string?
---@return string? why
function compat_dns.gethostname() end

---@class neap.compat.Tcp
local compat_tcp = {}

---@async
---@param host string
---@param port? integer | string
---@return 1?
---@return string? why
function compat_tcp:connect(host, port) end

---@async
---@param host string
---@param port? integer | string
---@return 1?
---@return string? why
function compat_tcp:setpeername(host, port) end

---@async
---@param host string
---@param port? integer | string
---@return 1?
---@return string? why
function compat_tcp:bind(host, port) end

---@async
---@param host string
---@param port? integer | string
---@return 1?
---@return string? why
function compat_tcp:setsockname(host, port) end

---@async
---@param backlog? integer
---@return 1?
---@return string? why
function compat_tcp:listen(backlog) end

---@async
---@return neap.compat.Tcp?
---@return string? why
function compat_tcp:accept() end

---@async
---@param data string | number
---@param i? integer
---@param j? integer
---@return integer? last
---@return string? why
---@return integer? partial
function compat_tcp:send(data, i, j) end

---@async
---@param pattern? "*l" | "*a" | "l" | "a" | integer
---@param prefix? string
---@return string?
---@return string? why
---@return string? partial
function compat_tcp:receive(pattern, prefix) end

---@param mode? "both" | "send" | "receive"
---@return 1
function compat_tcp:shutdown(mode) end

---@return 1
function compat_tcp:close() end

---@param seconds? number
---@param mode? "b" | "t" | "r"
---@return 1
function compat_tcp:settimeout(seconds, mode) end

---@return number block
---@return number total
function compat_tcp:gettimeout() end

---@param name string
---@param value any
---@return 1?
---@return string? why
function compat_tcp:setoption(name, value) end

---@param name string
---@return any
---@return string? why
function compat_tcp:getoption(name) end

---@return string?
---@return integer | string
---@return "inet" | "inet6" | nil
function compat_tcp:getsockname() end

---@return string?
---@return integer | string
---@return "inet" | "inet6" | nil
function compat_tcp:getpeername() end

---@return "inet4" | "inet6"
function compat_tcp:getfamily() end

---@return integer received
---@return integer sent
---@return number age
function compat_tcp:getstats() end

---@param received? integer
---@param sent? integer
---@param age? number
---@return 1
function compat_tcp:setstats(received, sent, age) end

---@return boolean
function compat_tcp:dirty() end

---@return integer
function compat_tcp:getfd() end

---@class neap.compat.Datagrams
local compat_udp = {}

---@async
---@param host string
---@param port integer | string
---@return 1?
---@return string? why
function compat_udp:setsockname(host, port) end

---@async
---@param host string
---@param port? integer | string
---@return 1?
---@return string? why
function compat_udp:setpeername(host, port) end

---@async
---@param data string | number
---@return integer? bytes
---@return string? why
function compat_udp:send(data) end

---@async
---@param data string | number
---@param host string
---@param port integer | string
---@return integer? bytes
---@return string? why
function compat_udp:sendto(data, host, port) end

---@async
---@param size? integer
---@return string?
---@return string? why
function compat_udp:receive(size) end

---@async
---@param size? integer
---@return string?
---@return string host_or_why
---@return integer? port
function compat_udp:receivefrom(size) end

---@return 1
function compat_udp:close() end

---@param seconds? number
---@param mode? "b" | "t" | "r"
---@return 1
function compat_udp:settimeout(seconds, mode) end

---@return number block
---@return number total
function compat_udp:gettimeout() end

---@return string?
---@return integer | string
---@return "inet" | "inet6" | nil
function compat_udp:getsockname() end

---@return string?
---@return integer | string
---@return "inet" | "inet6" | nil
function compat_udp:getpeername() end

---@return "inet4" | "inet6"
function compat_udp:getfamily() end

---@return integer
function compat_udp:getfd() end

---@return boolean
function compat_udp:dirty() end

---@param name string
---@param value any
---@return 1?
---@return string? why
function compat_udp:setoption(name, value) end

---@param name string
---@return any
---@return string? why
function compat_udp:getoption(name) end

---What drivers use of LuaSec: `require "neap.compat.ssl"`.
---@class neap.compat.ssl
local compat_ssl = {}

---From then on `require "ssl"` gives this module.
---@return neap.compat.ssl
function compat_ssl.install() end

---@param params table
---@return table? context
---@return string? why
function compat_ssl.newcontext(params) end

---@param sock neap.compat.Tcp
---@param params table
---@return neap.compat.Secure?
---@return string? why
function compat_ssl.wrap(sock, params) end

---@class neap.compat.Secure: neap.compat.Tcp
local compat_secure = {}

---@async
---@return boolean
---@return string? why
function compat_secure:dohandshake() end

---@param name string
function compat_secure:sni(name) end

---@return string?
function compat_secure:getsniname() end

---@param field? "protocol" | "cipher"
---@return any
function compat_secure:info(field) end

---@return string?
function compat_secure:getalpn() end

---@return boolean
function compat_secure:getpeerverification() end

---@return "nothing"
function compat_secure:want() end

return neap
