-- Buffers wherever bytes are written: files, connections, datagrams, child processes.
local h = require "spec.helper"
local support = require "spec.support"
local wires = require "spec.wires"
local neap = require "neap"

local await, buffer, fs = neap.await, neap.buffer, neap.fs

local function writable(text)
  local buf = buffer(#text)
  buf:set(1, text)
  return buf
end

--- A function for `it`: fn(path) gets a name in an empty directory.
local function with_path(fn)
  return h.run(function(t)
    local directory = support.temp_dir()
    local _ <close> = support.closing(function() support.remove_tree(directory) end)
    fn(directory .. "/file", t)
  end)
end

--- What each operation has to refuse: a Buffer without bytes.
local function closed()
  local buf = buffer(3)
  buf:close()
  return buf
end

local kinds = { ["an immutable"] = buffer, ["a writable"] = writable }

for kind, make in pairs(kinds) do
  describe(kind .. " Buffer", function()
    it("is written by fs.write_file and append_file", with_path(function(path)
      await(fs.write_file(path, make("abcdef"):slice(2, 4)))
      await(fs.append_file(path, make("xyz")))
      assert.equal("bcdxyz", support.slurp(path))
      await(fs.write_file(path, make("new"), { atomic = true }))
      assert.equal("new", support.slurp(path))
    end))

    it("is written by File:write and write_at, with strings and numbers", with_path(function(path)
      local file <close> = await(fs.open(path, "w"))
      assert.equal(3, await(file:write(make("abc"))))
      assert.equal(7, await(file:write("d", make("ef"):slice(2), 12, make(""), make("xyz"))))
      assert.equal(2, await(file:write_at(1, make("BC"))))
      assert.equal("aBCdf12xyz", support.slurp(path))
    end))

    it("is written by Conn:write, also when the peer is slow to read", wires.with_pair("TCP",
      function(conn, peer)
        assert.equal(6, await(conn:write(make("abc"), "d", make(""), make("efg"):slice(1, 2))))
        assert.equal("abcdef", await(peer:read_exactly(6)))
        local large = ("0123456789abcdef"):rep(1 << 19)
        local buf = make(large)
        local write = conn:write(buf, "end")
        assert.equal("pending", write:status())
        if buf:is_writable() then buf:fill(0) end -- the bytes are those of the call
        buf:close()
        assert.is_true(await(peer:read_exactly(#large)) == large)
        assert.equal("end", await(peer:read_exactly(3)))
        assert.equal(#large + 3, await(write))
      end))

    it("is sent by Udp:send", h.run(function()
      local from <close> = await(neap.net.udp{ host = "127.0.0.1" })
      local to <close> = await(neap.net.udp{ host = "127.0.0.1" })
      local host, port = to:address()
      assert.equal(3, await(from:send(make("abc"), host, port)))
      assert.equal("abc", (await(to:recv())))
      await(from:connect(host, port))
      assert.equal(2, await(from:send(make("abc"):slice(2))))
      assert.equal("bc", (await(to:recv())))
    end))

    it("is the input of a child", h.run(function()
      local buf = make(("line\n"):rep(50000))
      local running = neap.process.run{ "cat", input = buf }
      if buf:is_writable() then buf:fill(0) end
      buf:close()
      assert.is_true(await(running).stdout == ("line\n"):rep(50000))
    end))
  end)
end

describe("a file that is written from a Buffer", function()
  it("gets the bytes of the call, whatever the Buffer has then", with_path(function(path)
    for i = 1, 30 do
      local buf = writable(("x"):rep(100000))
      local write = fs.write_file(path, buf)
      buf:fill(0)
      buf:close()
      await(write)
      assert.is_true(support.slurp(path) == ("x"):rep(100000), "round " .. i)
    end
  end))

  it("gets those of an immutable one, which may be closed and collected", with_path(function(path)
    local file <close> = await(fs.open(path, "w"))
    for _ = 1, 30 do
      local buf = buffer(("x"):rep(100000))
      local write = file:write_at(0, buf)
      buf:close()
      buf = nil -- luacheck: ignore 311
      collectgarbage()
      await(write)
      assert.is_true(support.slurp(path) == ("x"):rep(100000))
      await(file:truncate(0))
    end
  end))

  it("may be left alone while it is written", with_path(function(path)
    local file <close> = await(fs.open(path, "w"))
    for _ = 1, 10 do
      local write = file:write(buffer(("x"):rep(1000000)))
      write:cancel("enough")
    end
    fs.write_file(path, buffer(("x"):rep(1000000))):cancel("enough")
  end))
end)

describe("what takes bytes", function()
  it("raises EMISUSE for a closed Buffer and starts nothing", with_path(function(path)
    h.misuse(function() return fs.write_file(path, closed()) end)
    h.misuse(function() return fs.append_file(path, closed()) end)
    assert.is_false(await(fs.access(path)))
    local file <close> = await(fs.open(path, "w"))
    h.misuse(function() return file:write("a", closed()) end)
    h.misuse(function() return file:write_at(0, closed()) end)
    local udp <close> = await(neap.net.udp{ host = "127.0.0.1" })
    h.misuse(function() return udp:send(closed(), udp:address()) end)
    h.misuse(function() return neap.process.run{ "cat", input = closed() } end)
  end))

  it("names strings and Buffers where it gets something else", with_path(function(path)
    local expected = "string or Buffer expected, got table"
    local function check(name, n, fn)
      assert.matches(expected, h.bad_argument(name, n, fn), 1, true)
    end
    check("write_file", 2, function() return fs.write_file(path, {}) end)
    check("append_file", 2, function() return fs.append_file(path, {}) end)
    local file <close> = await(fs.open(path, "w"))
    check("write", 2, function() return file:write("a", {}) end)
    check("write_at", 2, function() return file:write_at(0, {}) end)
    local udp <close> = await(neap.net.udp{ host = "127.0.0.1" })
    check("send", 1, function() return udp:send({}, udp:address()) end)
    assert.matches("a string or a Buffer expected", h.bad_argument("run", 1, function()
      return neap.process.run{ "cat", input = {} }
    end), 1, true)
  end))

  it("survives failing allocations with a Buffer", with_path(function(path)
    h.each_failure(function()
      local buf = writable("abc")
      await(fs.write_file(path, buf))
      await(fs.append_file(path, buf:freeze():slice(2)))
      local file <close> = await(fs.open(path, "r+"))
      await(file:write(buf, "x", buf))
      await(file:write_at(1, buf))
    end)
    assert.equal("aabcabc", support.slurp(path))
  end))
end)

describe("a conn", function()
  it("refuses a closed Buffer, or something else, and writes nothing", wires.with_pair("TCP",
    function(conn, peer)
      h.misuse(function() return conn:write("a", closed()) end)
      assert.matches("string or Buffer expected, got table",
        h.bad_argument("write", 2, function() return conn:write("a", {}) end), 1, true)
      await(conn:write(buffer("b")))
      await(conn:shutdown())
      assert.equal("b", await(peer:read_all()))
    end))

  it("writes immutable bytes from many Buffers of one block", wires.with_pair("a Unix socket",
    function(conn, peer)
      local text = ("0123456789"):rep(1000)
      local buf, slices = buffer(text), {}
      for i = 1, 1000 do slices[i] = buf:slice(i * 10 - 9, i * 10) end
      await(conn:write(table.unpack(slices)))
      assert.equal(text, await(peer:read_exactly(#text)))
    end))
end)
