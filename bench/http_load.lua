--- Load for a web server: http_load.lua CONNECTIONS SECONDS SERVER [ARGS...]. Starts the server
--- on core 0,
--- reads `port N` from its output, and lets wrk ask it from core 1.
local common = require "bench.common"
local neap = require "neap"

local await = neap.await
local UNITS = { us = 1, ms = 1e3, s = 1e6 }

--- CPU seconds of a process so far.
local function cpu_of(pid)
  local file <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
  local user, system = file:read("a"):match("^.*%) %S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (user + system) / 100
end

local function wrk(connections, seconds, port)
  return await(neap.process.run{ "taskset", "-c", "1", "wrk", "-t1", "-c" .. connections,
    "-d" .. seconds .. "s", "--latency", ("http://127.0.0.1:%d/"):format(port) }).stdout
end

--- The process that works: a shell script has a child that does.
local function worker_of(pid)
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  local child = file and file:read("a"):match("%d+")
  if file then file:close() end
  return child and tonumber(child) or pid
end

local function measure(connections, seconds, server)
  local port = tonumber(await(server.stdout:read_line()):match("port (%d+)"))
  local pid = worker_of(server.pid)
  wrk(connections, 1, port)
  local before = cpu_of(pid)
  local output = wrk(connections, seconds, port)
  local cpu = cpu_of(pid) - before
  local requests, took = output:match("(%d+) requests in ([%d.]+)s")
  local p99, unit = output:match("99%%%s+([%d.]+)(%a+)")
  if output:find("Non%-2xx") or output:find("Socket errors") then error(output, 0) end
  common.report("requests", requests / took)
  common.report("p99", p99 * UNITS[unit])
  common.report("server_cpu", cpu / requests * 1e9)
  common.report("server_busy", cpu / took)
end

neap.run(function()
  local command = { "taskset", "-c", "0", table.unpack(arg, 3) }
  command.stderr = "null"
  local server = await(neap.process.spawn(command))
  local ok, err = pcall(measure, arg[1], arg[2], server)
  server:kill("SIGTERM")
  await(neap.settle(server:wait()))
  if not ok then error(err, 0) end
end)
