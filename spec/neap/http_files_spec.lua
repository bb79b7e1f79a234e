-- neap.http.files and res:file: files as responses.
local h = require "spec.helper"
local lfs = require "lfs"
local support = require "spec.support"
local web = require "spec.http_wire"
local neap = require "neap"

local await, fs, http = neap.await, neap.fs, neap.http

local BIG = ("0123456789abcdef"):rep(200000)

--- A directory with some files, below one with a secret.
local function make_tree()
  local top = support.temp_dir()
  local root = top .. "/public"
  lfs.mkdir(root)
  lfs.mkdir(root .. "/sub")
  lfs.mkdir(root .. "/empty")
  support.spit(top .. "/secret", "secret")
  support.spit(root .. "/a.txt", "hello")
  support.spit(root .. "/b c.html", "<p>")
  support.spit(root .. "/none", "")
  support.spit(root .. "/big.bin", BIG)
  support.spit(root .. "/.hidden", "hidden")
  support.spit(root .. "/sub/index.html", "index")
  lfs.link("../secret", root .. "/link", true)
  lfs.link("a.txt", root .. "/inner", true)
  lfs.link("../..", root .. "/sub/up", true)
  return top, root
end

--- A spec with a server of files; `fn(get, root, server)`, where get(path, fields, method) asks.
local function serving(fn, opts)
  return h.scoped(function(t)
    local top, root = make_tree()
    local _ <close> = support.closing(function() support.remove_tree(top) end)
    local task, server = web.serve(http.files(root, opts))
    fn(function(path, fields, method)
      local request = web.get(path, fields):gsub("^GET", method or "GET")
      return web.ask(server, request, method)
    end, root, server, t)
    web.stop(task)
  end)
end

describe("neap.http.files", function()
  it("serves the files of a directory, with their types", serving(function(get)
    local status, headers, body = get("/a.txt")
    assert.same({ 200, "text/plain; charset=utf-8", "5", "hello" },
      { status, headers["content-type"], headers["content-length"], body })
    status, headers, body = get("/b%20c.html?x=1")
    assert.same({ 200, "text/html; charset=utf-8", "<p>" },
      { status, headers["content-type"], body })
    status, body = get("/none"), select(3, get("/none"))
    assert.same({ 200, "" }, { status, body })
    status, headers = get("/big.bin")
    assert.same({ 200, "application/octet-stream" }, { status, headers["content-type"] })
    assert.same({ 200, "hello" }, { (function() local s, _, b = get("/inner") return s, b end)() })
  end))

  it("serves large ones whole, one after the other on a connection", serving(function(_, _, server)
    local conn <close> = web.connect(server)
    for _ = 1, 3 do
      await(conn:write(web.get("/big.bin"), web.get("/a.txt")))
      assert.is_true(BIG == select(3, web.read(conn)))
      assert.equal("hello", (select(3, web.read(conn))))
    end
  end))

  it("serves a slow client, and other ones meanwhile", serving(function(get, _, server)
    local conn <close> = web.connect(server)
    await(conn:write(web.get("/big.bin")))
    await(neap.sleep(5))
    assert.equal(200, (get("/a.txt")))
    assert.is_true(BIG == select(3, web.read(conn)))
  end))

  it("gives the head for HEAD", serving(function(get)
    local status, headers, body = get("/big.bin", nil, "HEAD")
    assert.same({ 200, tostring(#BIG), "" }, { status, headers["content-length"], body })
  end))

  it("refuses other methods", serving(function(get)
    local status, headers = get("/a.txt", nil, "DELETE")
    assert.same({ 405, "GET, HEAD" }, { status, headers.allow })
  end))

  it("knows nothing of what is not there", serving(function(get)
    for _, path in ipairs{ "/nothing", "/a.txt/", "/a.txt/b", "/empty/", "/" .. ("x"):rep(1000) } do
      assert.equal(404, (get(path)), path)
    end
  end))

  it("has no way out of the directory", serving(function(get)
    for _, path in ipairs{ "/../secret", "/%2e%2e/secret", "/sub/../../secret",
      "/sub/..%2f..%2fsecret",
      "//../secret", "/..%5csecret", "/a.txt%00", "/link", "/sub/up/secret", "/.", "/sub/up/",
      "/%2e%2e%2fsecret", "/.../secret" } do
      local status, _, body = get(path)
      assert.is_true(status == 404 or status == 308, path .. " " .. status)
      assert.is_nil(body:find("secret", 1, true), path)
    end
  end))

  it("does not show hidden files, unless that is asked for", serving(function(get)
    assert.equal(404, (get("/.hidden")))
  end))
  it("shows hidden files where that is asked for", serving(function(get)
    assert.equal("hidden", (select(3, get("/.hidden"))))
  end, { hidden = true }))

  it("serves the index of a directory, behind its slash", serving(function(get)
    assert.equal("index", (select(3, get("/sub/"))))
    local status, headers = get("/sub?a=b")
    assert.same({ 308, "/sub/?a=b" }, { status, headers.location })
    status, headers = get("//sub")
    assert.same({ 308, "/sub/" }, { status, headers.location })
    status, headers = get("http://x/sub")
    assert.same({ 308, "/sub/" }, { status, headers.location })
  end))

  it("says how long it may be kept", serving(function(get)
    assert.equal("max-age=60", (select(2, get("/a.txt")))["cache-control"])
  end, { max_age = 60 }))

  it("checks its arguments", h.run(function()
    h.bad_argument("files", 1, http.files, nil)
    h.bad_argument("files", 2, http.files, "x", 1)
  end))
end)

describe("conditions", function()
  it("give 304 for what the client has", serving(function(get)
    local _, headers = get("/a.txt")
    local tag, date = headers.etag, headers["last-modified"]
    for _, fields in ipairs{
      "If-None-Match: " .. tag .. "\r\n",
      'If-None-Match: "x", W/' .. tag .. "\r\n",
      "If-None-Match: *\r\n",
      "If-Modified-Since: " .. date .. "\r\n",
    } do
      local status, answer, body = get("/a.txt", fields)
      assert.same({ 304, tag, "" }, { status, answer.etag, body }, fields)
    end
    for _, fields in ipairs{
      'If-None-Match: "x"\r\n',
      'If-None-Match: "x"\r\nIf-Modified-Since: ' .. date .. "\r\n",
      "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
      "If-Modified-Since: nonsense\r\n",
    } do
      assert.equal(200, (get("/a.txt", fields)), fields)
    end
  end))

  it("give 412 for what has changed", serving(function(get)
    assert.equal(412, (get("/a.txt", 'If-Match: "x"\r\n')))
    assert.equal(412, (get("/a.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n")))
    assert.equal(200, (get("/a.txt", "If-Match: *\r\n")))
  end))

  it("see a new file", serving(function(get, root)
    local tag = (select(2, get("/a.txt"))).etag
    support.spit(root .. "/a.txt", "other")
    await(fs.utime(root .. "/a.txt", 1000, 2000))
    local _, headers = get("/a.txt", "If-None-Match: " .. tag .. "\r\n")
    assert.not_equal(tag, headers.etag)
    assert.equal("Thu, 01 Jan 1970 00:33:20 GMT", headers["last-modified"])
  end))
end)

describe("ranges", function()
  it("give a part", serving(function(get)
    for range, expected in pairs{
      ["0-1"] = { "he", "bytes 0-1/5" }, ["1-"] = { "ello", "bytes 1-4/5" },
      ["-2"] = { "lo", "bytes 3-4/5" }, ["-99"] = { "hello", "bytes 0-4/5" },
      ["4-999999999999"] = { "o", "bytes 4-4/5" },
    } do
      local status, headers, body = get("/a.txt", "Range: bytes=" .. range .. "\r\n")
      assert.same({ 206, expected[1], expected[2] }, { status, body, headers["content-range"] })
    end
  end))

  it("of a large file, too", serving(function(get)
    local _, headers, body = get("/big.bin", "Range: bytes=100001-2500000\r\n")
    assert.equal("2400000", headers["content-length"])
    assert.is_true(body == BIG:sub(100002, 2500001))
  end))

  it("that are outside are 416", serving(function(get)
    for _, range in ipairs{ "5-", "9-10", "-0" } do
      local status, headers = get("/a.txt", "Range: bytes=" .. range .. "\r\n")
      assert.same({ 416, "bytes */5" }, { status, headers["content-range"] }, range)
    end
  end))

  it("that are none, or several, give all", serving(function(get)
    for _, range in ipairs{ "bytes=x", "bytes=-", "lines=0-1", "bytes=0-1,3-4", "bytes=3-1",
      "bytes=99999999999999999999-" } do
      assert.equal(200, (get("/a.txt", "Range: " .. range .. "\r\n")), range)
    end
  end))

  it("hold for the file that the client knows", serving(function(get)
    local _, headers = get("/a.txt")
    assert.equal(206, (get("/a.txt", "Range: bytes=0-1\r\nIf-Range: " .. headers.etag .. "\r\n")))
    assert.equal(200, (get("/a.txt", 'Range: bytes=0-1\r\nIf-Range: "x"\r\n')))
    assert.equal(206,
      (get("/a.txt", "Range: bytes=0-1\r\nIf-Range: " .. headers["last-modified"] .. "\r\n")))
  end))
end)

describe("res:file", function()
  local function answering(handler, fn)
    return h.scoped(function(t)
      local top, root = make_tree()
      local _ <close> = support.closing(function() support.remove_tree(top) end)
      local task, server = web.serve(function(req, res) return handler(root, req, res) end)
      fn(server, t)
      web.stop(task)
    end)
  end

  it("sends one file, awaited or returned", answering(function(root, req, res)
    if req.path == "/returned" then return res:file(root .. "/a.txt", { type = "x/y" }) end
    res:header("Content-Disposition", "attachment")
    await(res:file(root .. "/big.bin"))
  end, function(server)
    local _, headers, body = web.ask(server, web.get("/returned"))
    assert.same({ "x/y", "hello" }, { headers["content-type"], body })
    _, headers, body = web.ask(server, web.get("/"))
    assert.equal("attachment", headers["content-disposition"])
    assert.is_true(BIG == body)
  end))

  it("fails like an open where there is none", answering(function(root, _, res)
    await(res:file(root .. "/nothing"))
  end, function(server, t)
    assert.equal(500, (web.ask(server, web.get("/"))))
    assert.equal("ENOENT", t:take_unobserved()[1].err.code)
  end))

  it("ends when the client leaves", answering(function(root, _, res)
    await(res:file(root .. "/big.bin"))
  end, function(server)
    local before = support.open_descriptors()
    local conn = web.connect(server)
    await(conn:write(web.get("/")))
    await(conn:read_exactly(100))
    await(conn:reset())
    for _ = 1, 1000 do
      if support.open_descriptors() == before then break end
      await(neap.sleep(0.01))
    end
    assert.equal(before, support.open_descriptors())
  end))
end)
