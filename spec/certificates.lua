--- Certificates for specs, made by the openssl command, once for each file: an authority, and what
--- it has signed. C.path("good.pem"); C.good = { cert =, key = } and so on.
local support = require "spec.support"

local SCRIPT = [[
set -eu
cd "$1"
ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $ec -keyout ca.key -out ca.pem -days 30 -subj "/CN=Spec authority"
openssl req -x509 $ec -keyout self.key -out self.pem -days 30 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1
signed() { # NAME DAYS SUBJECT NAMES
  openssl req $ec -keyout $1.key -out $1.csr -subj "$3"
  printf 'subjectAltName=%s\n' "$4" >$1.ext
  openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days $2 \
    -extfile $1.ext -out $1.pem
}
signed good 30 "/CN=localhost/O=Spec" DNS:localhost,DNS:*.wild.example,IP:127.0.0.1,IP:::1
signed expired -1 /CN=localhost DNS:localhost,IP:127.0.0.1
signed wrong 30 /CN=elsewhere.example DNS:elsewhere.example,DNS:www.elsewhere.example
signed client 30 "/CN=a client" email:client@example.com
openssl ec -in good.key -aes128 -passout pass:secret -out locked.key
cat good.pem good.key >both.pem
mkdir hashed && cp ca.pem hashed/ && openssl rehash hashed
]]

local M = {}

--- Makes them in a new directory; to be called in `setup`.
function M.make()
  local dir = support.temp_dir()
  support.spit(dir .. "/make", SCRIPT)
  local command = ("sh '%s/make' '%s' >'%s/log' 2>&1"):format(dir, dir, dir)
  assert(os.execute(command), support.slurp(dir .. "/log"))
  local self = { dir = dir }
  function self.path(name) return dir .. "/" .. name end
  for _, name in ipairs { "good", "expired", "wrong", "client", "self" } do
    self[name] = { cert = self.path(name .. ".pem"), key = self.path(name .. ".key") }
  end
  self.ca = self.path("ca.pem")
  function self.remove() support.remove_tree(dir) end
  return self
end

return M
