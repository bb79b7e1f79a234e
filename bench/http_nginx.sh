#!/bin/sh
# nginx with its Lua module, one process. Prints its port.
set -eu
folder=$(mktemp -d)
trap 'kill "$nginx" 2>/dev/null; rm -rf "$folder"' EXIT INT TERM
port=$((20000 + $$ % 20000))
modules=/usr/lib/nginx/modules
cat >"$folder/nginx.conf" <<END
daemon off; master_process off; error_log $folder/log crit; pid $folder/pid;
load_module $modules/ndk_http_module.so;
load_module $modules/ngx_http_lua_module.so;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path $folder/b; proxy_temp_path $folder/p; fastcgi_temp_path $folder/f;
  uwsgi_temp_path $folder/u; scgi_temp_path $folder/s;
  lua_package_path "/usr/share/lua/5.1/?.lua;;";
  server {
    listen 127.0.0.1:$port backlog=1024; default_type text/plain;
    location / { content_by_lua_block { ngx.header["Content-Length"] = 13 ngx.print("Hello, World!") } }
  }
}
END
nginx -p "$folder/" -c "$folder/nginx.conf" &
nginx=$!
sleep 1
echo "port $port"
wait "$nginx"
