-- Servers with TLS that are not ours, as children: nginx and Node's https, with a certificate of
-- the hour.
local support = require "spec.support"
local neap = require "neap"

local await, fs, process = neap.await, neap.fs, neap.process

local M = {}

local function is_installed(command)
  return os.execute("command -v " .. command .. " >/dev/null 2>&1") == true
end

--- Whether there is the server; says so where there is not. `./dev` installs it.
function M.has(command)
  if is_installed(command) and is_installed("openssl") then return true end
  io.stderr:write(("left out: no %s, or no openssl\n"):format(command))
  return false
end

--- A certificate that is its own authority, for localhost and the address, and its key.
local function make_certificate(folder)
  await(process.run{ "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    "-subj",
    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder
      .. "/key.pem",
    "-out", folder .. "/cert.pem", check = true })
end

local NGINX = [[
daemon off; master_process off; pid FOLDER/pid; error_log stderr notice;
events { }
http {
  access_log off; client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/f; uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
  gzip on; gzip_types text/plain; gzip_min_length 1;
  ssl_certificate FOLDER/cert.pem; ssl_certificate_key FOLDER/key.pem;
  server {
    listen unix:FOLDER/tls ssl http2;
    location /text {
      default_type text/plain;
      return 200 "hello hello hello over $server_protocol";
    }
    location /missing { return 404 "no"; }
    location /move { return 302 /text; }
    location /files { alias FOLDER; }
  }
  server {
    listen unix:FOLDER/mutual ssl;
    ssl_verify_client on; ssl_client_certificate FOLDER/cert.pem;
    location / { default_type text/plain; return 200 "you are $ssl_client_s_dn"; }
  }
}
]]

--- fn(folder) while nginx listens at folder/tls, and at folder/mutual for clients with a
--- certificate.
local function with_nginx(folder, fn)
  support.spit(folder .. "/conf", (NGINX:gsub("FOLDER", folder)))
  local child <close> = await(process.spawn{ "nginx", "-p", folder, "-c", folder .. "/conf",
    stdin = "null",
    stdout = "null" })
  local log = {}
  for line in child.stderr:lines() do
    log[#log + 1] = line
    if line:find("built by") or line:find("OS: ") then break end
    if line:find("[emerg]", 1, true) then error(table.concat(log, "\n"), 0) end
  end
  fn(folder)
  child:kill("SIGKILL")
end

local NODE = [[
const fs = require("fs"), https = require("https"), folder = process.argv[1];
const options = { key: fs.readFileSync(folder + "/key.pem"),
  cert: fs.readFileSync(folder + "/cert.pem") };
const server = https.createServer(options, (req, res) => {
  if (req.url === "/slow") return;
  const parts = [];
  req.on("data", (part) => parts.push(part));
  req.on("end", () => {
    res.setHeader("X-Method", req.method);
    res.setHeader("Set-Cookie", ["a=1; Secure", "b=2"]);
    res.write(Buffer.concat(parts));
    res.end("!");
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
]]

--- fn(folder, port) while Node answers with the body of the request and "!".
local function with_node(folder, fn)
  local child <close> = await(process.spawn{ "node", "-e", NODE, folder, stdin = "null",
    stderr = "inherit" })
  fn(folder, await(child.stdout:read_line()))
  child:kill("SIGKILL")
end

local runners = { nginx = with_nginx, node = with_node }

--- Runs fn in a run of its own, on the real clock, with that server.
function M.run(name, fn)
  return function()
    neap.run(function()
      local folder <close> = await(fs.temp_dir())
      os.execute("chmod 755 " .. folder.path)
      make_certificate(folder.path)
      neap.timeout(60, function() runners[name](folder.path, fn) end)
    end)
  end
end

return M
