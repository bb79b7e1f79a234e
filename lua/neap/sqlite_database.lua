--- neap.sqlite: SQLite on a thread of its own. Requests are written in C; here are transactions,
--- and what is said where the driver was not built.
local check = require "neap.check"
local core = require "neap.core"
local localvar = require "neap.localvar"

local is_built, driver = pcall(require, "neap.sqlite_driver")

---@class neap.sqlite
local M = {}

local MISSING = "neap was built without SQLite: install libsqlite3-dev (or what brings "
  .. "sqlite3.pc), and build it again"

if not is_built then
  local reason = driver
  --- Whatever is wanted of it says what is missing, or why a module that is there cannot be loaded.
  local function missing()
    local is_absent = tostring(reason):find("module 'neap.sqlite_driver' not found", 1, true)
    error(core.error("ENOTSUP", is_absent and MISSING or tostring(reason)), 0)
  end
  M.open, M.blob = missing, missing
  M.null = nil
  return M
end

--- Stands for NULL where nil cannot stand: in tables of parameters.
M.null = driver.null

--- The version of the SQLite library, for instance "3.40.1".
M.library_version = driver.library_version

--- A string that is stored as a BLOB instead of as TEXT.
---@param data string
---@return neap.sqlite.Blob
---@nodiscard
M.blob = driver.blob

--- Opens a database, a file or ":memory:": a Task of a neap.Database.
---@param path string
---@param opts? neap.sqlite.Options
---@return neap.Task
---@nodiscard
M.open = driver.open

-- Transactions: a task-local variable knows the innermost one, so that what runs in it, and the
-- tasks that are started there, belong to it.

local current = localvar.localvar()
driver.set_variable(current)

local MODES = { deferred = "BEGIN", immediate = "BEGIN IMMEDIATE", exclusive = "BEGIN EXCLUSIVE" }

local function begin_statement(opts, name)
  if opts == nil then return MODES.immediate end
  check.table(opts, name, 1)
  local mode = opts.mode == nil and "immediate" or opts.mode
  if MODES[mode] then return MODES[mode] end
  core.argument_error(name, 1,
    "option 'mode': one of 'deferred' 'immediate' 'exclusive' expected")
end

--- Undoes what did not end well. Where that cannot be waited for, or fails, it happens before the
--- next request.
local Undo = {}

local function roll_back(tx)
  core.await(driver.roll_back(tx))
end

function Undo:__close()
  local tx = self.tx
  if self.is_open then pcall(core.shield, roll_back, tx) end
  driver.leave(tx)
end

local function run(object, begin, fn, ...)
  local tx = driver.new_transaction(object)
  local undo <close> = setmetatable({ tx = tx }, Undo)
  core.await(driver.begin(tx, begin))
  undo.is_open = true
  local results = table.pack(current:with(tx, fn, tx, ...))
  core.await(driver.commit(tx))
  undo.is_open = false
  return table.unpack(results, 1, results.n)
end

--- db:transaction(opts?, fn, ...): calls fn(tx, ...) in a transaction, and returns its results when
--- that is committed. An error and a cancellation roll it back. In another one it is a savepoint.
local function transaction(object, opts, fn, ...)
  if check.is_callable(opts) then return run(object, MODES.immediate, opts, fn, ...) end
  local begin = begin_statement(opts, "transaction")
  check.callable(fn, "transaction", 2)
  return run(object, begin, fn, ...)
end

driver.database_methods.transaction = transaction
driver.transaction_methods.transaction = transaction

return M
