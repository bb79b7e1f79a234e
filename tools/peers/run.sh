#!/bin/sh
# Real peers: nc, socat, curl and wrk talk with the examples, and neap with them. For ./dev peers, which
# sets the paths of Lua's modules. Each check prints `ok TITLE` or `not ok TITLE: why`, the end `1..COUNT`.
#
# The checks are called by name.
# shellcheck disable=SC2317
set -u

lua=${NEAP_LUA:-lua5.4}
work=$(mktemp -d)
count=0
server=
trap 'stop_all; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

stop_all() {
  jobs -p >"$work/jobs"
  while read -r pid; do kill -9 "$pid" 2>/dev/null; done <"$work/jobs"
}

# check TITLE FUNCTION [ARGS]: what the function prints is why it failed.
check() {
  title=$1
  shift
  count=$((count + 1))
  if "$@" >"$work/why" 2>&1; then
    echo "ok peers: $title"
  else
    echo "not ok peers: $title: $(tail -c 300 "$work/why" | tr '\n' ' ')"
  fi
}

# until_ok COMMAND...: wait, 10 s at most, till it succeeds.
until_ok() {
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "waited in vain for: $*" && return 1; }
    sleep 0.05
  done
}

# background COMMAND...: its id is in $!. A shell gives what it puts into the background /dev/null to read,
# and its open pipes: neither is wanted.
background() {
  { "$@" <&3 3<&- 4>&- 5>&- & } 3<&0
}

# --- servers -------------------------------------------------------------------------------------

# start SCRIPT [ARGS]: a server that says on stderr where it listens; its port is in $port.
start() {
  : >"$work/log"
  background "$lua" "$@" >/dev/null 2>"$work/log"
  server=$!
  until_ok grep -q '^listening' "$work/log" || cat "$work/log"
  port=$(sed -n 's/^listening.* port \([0-9]*\)$/\1/p' "$work/log")
}

interrupt() {
  kill -INT "$server"
}

# The server ends as interrupted programs do.
ends_with_130() {
  status=0
  wait "$server" || status=$?
  [ "$status" -eq 130 ] || { echo "exit status $status" && cat "$work/log" && return 1; }
}

stops() {
  interrupt
  ends_with_130
}

# --- clients that a check leads step by step -----------------------------------------------------

# open NUMBER COMMAND...: a client that reads a pipe (say) and writes a file (hears).
open() {
  number=$1
  shift
  rm -f "$work/in.$number"
  mkfifo "$work/in.$number"
  : >"$work/out.$number"
  eval "exec $number<>\"\$work/in.$number\"" # for both: opening it for one waits for the other
  background timeout 20 "$@" <"$work/in.$number" >"$work/out.$number"
  eval "client_$number=\$!"
}

say() {
  eval "printf '%s\n' \"\$2\" >&$1"
}

hears() {
  until_ok grep -qx "$2" "$work/out.$1" || { cat "$work/out.$1" && return 1; }
}

hang_up() {
  eval "exec $1>&-"
  eval "wait \$client_$1"
}

# --- echo ----------------------------------------------------------------------------------------

head -c 1000000 /dev/urandom >"$work/data"

# echoes COMMAND...: what the command sends it gets back.
echoes() {
  timeout 20 "$@" <"$work/data" >"$work/echoed" || echo "exit status $?"
  cmp "$work/data" "$work/echoed"
}

echoes_at_once() {
  pids=
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    background timeout 20 nc -N 127.0.0.1 "$port" <"$work/data" >"$work/echoed.$i"
    pids="$pids $!"
  done
  # shellcheck disable=SC2086
  wait $pids
  for i in 1 10 20; do cmp "$work/data" "$work/echoed.$i" || return 1; done
}

# A client that sends much, reads nothing and leaves disturbs nobody.
survives_rude_client() {
  timeout 20 socat -u "OPEN:$work/data" "TCP4:127.0.0.1:$port" || return 1
  echoes nc -N 127.0.0.1 "$port"
}

refuses() {
  ! nc -z 127.0.0.1 "$port"
}

# An open connection is served to its end after Ctrl-C, a new one is refused.
drains() {
  open 4 nc -N 127.0.0.1 "$port"
  say 4 before && hears 4 before || return 1
  interrupt
  until_ok refuses && say 4 after && hears 4 after && hang_up 4 && ends_with_130
}

check_tcp_echo() {
  start examples/echo_server.lua
  check "nc gets back what it sends over TCP" echoes nc -N 127.0.0.1 "$port"
  check "socat gets back what it sends over TCP" echoes socat -t 20 - "TCP4:127.0.0.1:$port"
  if [ -s /proc/net/if_inet6 ]; then
    check "nc reaches the same server over IPv6" echoes nc -N ::1 "$port"
  fi
  check "20 nc at once get back what they send" echoes_at_once
  check "a client that only sends disturbs nobody" survives_rude_client
  check "Ctrl-C leaves open connections their time, then exit code 130" drains
}

leaves_no_file() {
  stops && [ ! -e "$work/socket" ]
}

check_unix_echo() {
  start examples/echo_server.lua "$work/socket"
  check "nc gets back what it sends over a Unix socket" echoes nc -N -U "$work/socket"
  check "socat gets back what it sends over a Unix socket" \
    echoes socat -t 20 - "UNIX-CONNECT:$work/socket"
  check "the socket's file is gone after Ctrl-C" leaves_no_file
}

check_abstract_echo() {
  start examples/echo_server.lua "@neap-peers-$$"
  check "socat gets back what it sends over an abstract socket" \
    echoes socat -t 20 - "ABSTRACT-CONNECT:neap-peers-$$"
  check "Ctrl-C ends it without connections at once" stops
}

check_udp_echo() {
  head -c 1200 /dev/urandom >"$work/data" # one datagram
  start tools/peers/udp_echo.lua
  check "nc gets back what it sends over UDP" echoes nc -u -W 1 127.0.0.1 "$port"
  check "socat gets back what it sends over UDP" echoes socat - "UDP4:127.0.0.1:$port"
  check "Ctrl-C ends the wait for datagrams" stops
}

# --- neap as the client --------------------------------------------------------------------------

# from_socat HOW ADDRESS COMMAND...: socat serves one client there, the command. It gets the
# port as its last argument, if there is one.
from_socat() {
  how=$1
  background socat -d -d "$2" PIPE >/dev/null 2>"$work/log"
  server=$!
  shift 2
  until_ok grep -q 'listening on' "$work/log" || cat "$work/log"
  port=$(sed -n 's/.*listening on .*AF=2 .*:\([0-9]*\)$/\1/p' "$work/log")
  check "neap gets back from socat what it sends over $how" echoes "$lua" "$@" ${port:+"$port"}
  kill "$server" 2>/dev/null
}

# socat stops for ever when its own pipe is full: less than that is sent.
check_client() {
  head -c 30000 /dev/urandom >"$work/data"
  from_socat TCP TCP4-LISTEN:0 tools/peers/send.lua 127.0.0.1
  from_socat "TCP to a name" TCP4-LISTEN:0 tools/peers/send.lua localhost
  from_socat "a Unix socket" "UNIX-LISTEN:$work/socket" tools/peers/send.lua "$work/socket"
  from_socat "an abstract socket" "ABSTRACT-LISTEN:neap-peers-$$" \
    tools/peers/send.lua "@neap-peers-$$"
  head -c 1200 /dev/urandom >"$work/data"
  from_socat UDP UDP4-LISTEN:0 tools/peers/udp_send.lua 127.0.0.1
}

# --- chat ----------------------------------------------------------------------------------------

chats() {
  open 4 nc -N 127.0.0.1 "$port"
  open 5 nc -N 127.0.0.1 "$port"
  say 4 ann && hears 4 "Your name?" && say 4 "hello?" || return 1
  hears 5 "Your name?" && say 5 bob && hears 4 "bob is here" || return 1
  say 5 "hello ann" && hears 4 "bob: hello ann" || return 1
  say 4 "hello bob" && hears 5 "ann: hello bob" || return 1
  ! grep "hello bob" "$work/out.4"
}

one_leaves() {
  hang_up 4 && hears 5 "ann has left"
}

all_leave() {
  stops && hang_up 5
}

check_chat() {
  start examples/chat.lua
  check "two nc chat with each other" chats
  check "the other one is told when one leaves" one_leaves
  check "Ctrl-C ends the chat of those who are there" all_leave
}

# --- HTTP ----------------------------------------------------------------------------------------

# fetch EXPECTED OPTIONS...: what curl prints.
fetch() {
  expected=$1
  shift
  got=$(curl -sS --max-time 20 "$@") || return 1
  [ "$got" = "$expected" ] || { echo "got: $got" && return 1; }
}

fetch_many() {
  curl -sS --max-time 20 "$url/?[1-1000]" >"$work/many" || return 1
  [ "$(grep -cx 'hello, world' "$work/many")" -eq 1000 ]
}

wrk_is_content() {
  timeout 30 wrk -t1 -c64 -d1s "$url" >"$work/wrk" || return 1
  cat "$work/wrk"
  grep -q '^ *[1-9][0-9]* requests in' "$work/wrk" || return 1
  ! grep -E '^ *(Socket errors|Non-2xx)' "$work/wrk"
}

no_request() {
  printf 'nonsense\r\n\r\n' | timeout 20 nc -N 127.0.0.1 "$port" >"$work/refused"
  head -n 1 "$work/refused" | grep -q '^HTTP/1.1 400 Bad Request' && fetch "hello, world" "$url"
}

# uploads OPTIONS...: curl gets back what it sends.
uploads() {
  curl -sS --max-time 20 --data-binary "@$work/data" "$@" "$url/echo" >"$work/echoed" || return 1
  cmp "$work/data" "$work/echoed"
}

# Node's fetch: JSON, a body that is streamed both ways, and many at once.
node_fetches() {
  timeout 30 node --input-type=module - "$url" <<'END'
const url = process.argv[2];
const check = (fact, what) => { if (!fact) { console.log(what); process.exit(1); } };
const hello = await (await fetch(url + "/hello?name=Node%20js")).json();
check(hello.hello === "Node js", "json");
const body = "x".repeat(300000);
const echo = await fetch(url + "/echo", { method: "POST", body });
check((await echo.text()) === body, "echo");
const all = await Promise.all(Array.from({ length: 200 }, () => fetch(url).then((r) => r.text())));
check(all.every((text) => text === "hello, world\n"), "many");
const ticks = await fetch(url + "/ticks");
let pieces = 0;
for await (const piece of ticks.body) pieces += piece.length > 0;
check(pieces >= 3, "pieces: " + pieces);
check((await fetch(url + "/nothing")).status === 404, "404");
END
}

# Four clients, each busy on a connection of its own: none loses an answer that was under way. Exit
# status 7: after its last answer it was not let in again.
drains_http() {
  clients=
  for i in 1 2 3 4; do
    background curl -sS --fail-early --max-time 20 "$url/?[1-1000000]" >"$work/busy.$i" 2>/dev/null
    clients="$clients $!"
  done
  for i in 1 2 3 4; do until_ok [ -s "$work/busy.$i" ] || return 1; done
  interrupt
  ends_with_130 || return 1
  for client in $clients; do
    status=0
    wait "$client" || status=$?
    [ "$status" -eq 7 ] || { echo "curl: exit status $status" && return 1; }
  done
  ! grep -vx 'hello, world' "$work"/busy.*
}

check_http() {
  start examples/hello_http.lua
  url=http://127.0.0.1:$port
  check "curl gets a page" fetch "hello, world" "$url"
  check "curl gets a page by HTTP/1.0" fetch "hello, world" -0 "$url"
  check "curl gets only the head when it asks for it" \
    fetch 200 -I -o "$work/head" -w '%{http_code}' "$url"
  check "curl sends a body, then has its connection again" \
    fetch 1.0. -o "$work/a" -o "$work/b" -w '%{num_connects}.' -d name=value "$url" "$url"
  check "curl gets 1000 pages on one connection" fetch_many
  head -c 1000000 /dev/urandom >"$work/data"
  check "curl sends a large body and gets it back" uploads
  check "curl waits for 100 Continue before it sends one" uploads -H "Expect: 100-continue"
  check "curl sends one in chunks" uploads -H "Transfer-Encoding: chunked"
  check "Node fetches JSON, streams, and 200 pages at once" node_fetches
  check "wrk sees neither errors nor other answers on 64 connections" wrk_is_content
  check "what is no request is refused, and others are served" no_request
  check "Ctrl-C in the middle of the work loses no answer" drains_http
}

# --- TLS -----------------------------------------------------------------------------------------

make_certificates() {
  for name in server client; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
      -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
      -keyout "$work/$name.key" -out "$work/$name.pem" 2>/dev/null
  done
}

# What openssl s_client says of itself is on stderr, and in its data are no commands.
client() {
  timeout 20 openssl s_client -quiet -verify_return_error -no_ign_eof -nocommands -connect "127.0.0.1:$port" \
    -CAfile "$work/server.pem" "$@" 2>"$work/client"
}

# s_client ends with its input, whatever comes back then: it stays open until all has.
echoes_lines() {
  seq 1 20000 >"$work/lines"
  { cat "$work/lines" && sleep 2; } | client "$@" >"$work/echoed" || true
  cmp "$work/lines" "$work/echoed"
}

resumes() {
  for how in -sess_out -sess_in; do
    { echo hello && sleep 1; } |
      timeout 20 openssl s_client -connect "127.0.0.1:$port" -CAfile "$work/server.pem" \
        "$how" "$work/session" >"$work/client" 2>&1
  done
  grep -q '^Reused, TLSv1.3' "$work/client" || { tail -20 "$work/client" && return 1; }
}

check_tls() {
  make_certificates
  start examples/tls_echo.lua "$work/server.pem" "$work/server.key"
  head -c 1000000 /dev/urandom >"$work/data"
  address=OPENSSL:127.0.0.1:$port,cafile=$work/server.pem,commonname=localhost
  check "socat gets back what it sends over TLS" echoes socat -t 20 - "$address"
  check "openssl s_client gets back what it sends" echoes_lines -tls1_3
  check "openssl s_client gets back what it sends over TLS 1.2" echoes_lines -tls1_2
  check "openssl s_client resumes its session" resumes
  check "neap gets back from itself what it sends over TLS" \
    echoes "$lua" tools/peers/tls_send.lua "$work/server.pem" localhost 127.0.0.1 "$port"
  check "Ctrl-C ends the server with TLS" stops
}

check_tls_client() {
  background socat -d -d "OPENSSL-LISTEN:0,cert=$work/server.pem,key=$work/server.key,verify=0" PIPE \
    >/dev/null 2>"$work/log"
  server=$!
  until_ok grep -q 'listening on' "$work/log" || cat "$work/log"
  port=$(sed -n 's/.*listening on .*AF=[0-9]* .*:\([0-9]*\)$/\1/p' "$work/log")
  head -c 30000 /dev/urandom >"$work/data"
  check "neap gets back from socat what it sends over TLS" \
    echoes "$lua" tools/peers/tls_send.lua "$work/server.pem" localhost 127.0.0.1 "$port"
  kill "$server" 2>/dev/null
}

fetches_nothing() {
  ! curl -s --max-time 20 "$@"
}

check_https() {
  start tools/peers/tls_hello.lua "$work/server.pem" "$work/server.key"
  url=https://localhost:$port
  check "curl gets a page over TLS" fetch "hello, world" --cacert "$work/server.pem" "$url"
  check "curl gets two pages on one connection" fetch "1.0." \
    --cacert "$work/server.pem" -w '%{num_connects}.' -o "$work/a" -o "$work/b" "$url" "$url"
  check "curl refuses a server that it does not trust" fetches_nothing "$url"
  check "curl gets no page without TLS" fetches_nothing "http://localhost:$port"
  check "curl gets a page after that" fetch "hello, world" --cacert "$work/server.pem" "$url"
  stops
  start tools/peers/tls_hello.lua "$work/server.pem" "$work/server.key" "$work/client.pem"
  url=https://localhost:$port
  check "curl gets a page with its certificate" fetch "hello, world" --cacert "$work/server.pem" \
    --cert "$work/client.pem" --key "$work/client.key" "$url"
  check "curl gets none without" fetches_nothing --cacert "$work/server.pem" "$url"
  stops
}

# --- WebSocket -----------------------------------------------------------------------------------

# closes_with LINE COMMAND...: the last that the command says.
closes_with() {
  line=$1
  shift
  timeout 20 "$@" >"$work/said" || echo "exit status $?"
  [ "$(tail -n 1 "$work/said")" = "$line" ] || { cat "$work/said" && return 1; }
}

check_websocket() {
  start tools/peers/ws_echo.lua
  check "Node's WebSocket gets back what it sends" closes_with "closed 4000 true" \
    node --experimental-websocket tools/peers/ws_client.js "ws://127.0.0.1:$port/"
  check "neap's WebSocket gets back from itself what it sends" closes_with "closed	4000	" \
    "$lua" tools/peers/ws_send.lua "ws://127.0.0.1:$port/"
  check "curl is told that it is a WebSocket" fetch 426 -o "$work/a" -w '%{http_code}' \
    "http://127.0.0.1:$port/"
  check "Ctrl-C ends the server of WebSockets" stops
  : >"$work/log"
  background node tools/peers/ws_server.js >/dev/null 2>"$work/log"
  server=$!
  until_ok grep -q '^listening' "$work/log" || cat "$work/log"
  port=$(sed -n 's/^listening.* port \([0-9]*\)$/\1/p' "$work/log")
  check "neap's WebSocket gets back from Node what it sends" closes_with "closed	4000	done" \
    "$lua" tools/peers/ws_send.lua "ws://127.0.0.1:$port/"
  kill "$server" 2>/dev/null
}

# What curl and Node trust is in their environment, so that the checks are those of plain HTTP.
check_https_server() {
  start examples/hello_http.lua 0 "$work/server.pem" "$work/server.key"
  url=https://localhost:$port
  export CURL_CA_BUNDLE="$work/server.pem" NODE_EXTRA_CA_CERTS="$work/server.pem"
  check "curl gets a page from the server with TLS" fetch "hello, world" "$url"
  check "curl agrees on HTTP/1.1 with it" fetch 1.1 -o "$work/page" -w '%{http_version}' "$url"
  check "curl gets a page by HTTP/1.0 from it" fetch "hello, world" -0 "$url"
  check "curl gets only the head from it" \
    fetch 200 -I -o "$work/head" -w '%{http_code}' "$url"
  check "curl gets 1000 pages on one connection with TLS" fetch_many
  head -c 1000000 /dev/urandom >"$work/data"
  check "curl sends a large body through TLS and gets it back" uploads
  check "curl waits for 100 Continue through TLS" uploads -H "Expect: 100-continue"
  check "curl sends one in chunks through TLS" uploads -H "Transfer-Encoding: chunked"
  check "Node fetches through TLS" node_fetches
  check "wrk sees neither errors nor other answers with TLS" wrk_is_content
  check "curl gets no page without TLS from it" fetches_nothing "http://localhost:$port"
  check "Ctrl-C in the middle of the work with TLS loses no answer" drains_http
  unset CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS
}

# -------------------------------------------------------------------------------------------------

check_tcp_echo
check_unix_echo
check_abstract_echo
check_udp_echo
check_client
check_chat
check_http
check_tls
check_tls_client
check_https
check_websocket
check_https_server
echo "1..$count"
