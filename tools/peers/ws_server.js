// A WebSocket server on Node's http, with frames by hand; says where it listens. It sends messages back in two
// fragments with a ping between them, and closes with the code that it gets.
const crypto = require("crypto");
const http = require("http");

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function frame(first, payload) {
  const n = payload.length;
  const head = Buffer.alloc(n < 126 ? 2 : n < 65536 ? 4 : 10);
  head[0] = first;
  head[1] = n < 126 ? n : n < 65536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(n, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(n), 2);
  return Buffer.concat([head, payload]);
}

// The first frame of the bytes, and the rest; null: it is not complete.
function parse(bytes) {
  if (bytes.length < 2) return null;
  let n = bytes[1] & 0x7f;
  let at = n === 126 ? 4 : n === 127 ? 10 : 2;
  if (bytes.length < at + 4) return null;
  if (n === 126) n = bytes.readUInt16BE(2);
  else if (n === 127) n = Number(bytes.readBigUInt64BE(2));
  if (!(bytes[1] & 0x80)) throw new Error("a client must mask");
  if (bytes.length < at + 4 + n) return null;
  const mask = bytes.subarray(at, at + 4);
  const payload = Buffer.from(bytes.subarray(at + 4, at + 4 + n));
  for (let i = 0; i < n; i++) payload[i] ^= mask[i & 3];
  return { opcode: bytes[0] & 0x0f, payload, rest: bytes.subarray(at + 4 + n) };
}

function answer(socket, { opcode, payload }) {
  const half = payload.length >> 1;
  if (opcode === 8) {
    socket.end(frame(0x88, payload));
  } else if (opcode === 9) {
    socket.write(frame(0x8a, payload));
  } else if (opcode !== 10) {
    socket.write(frame(opcode, payload.subarray(0, half)));
    socket.write(frame(0x89, Buffer.from("ping")));
    socket.write(frame(0x80, payload.subarray(half)));
  }
}

const server = http.createServer((_, res) => res.writeHead(426).end());
server.on("upgrade", (req, socket) => {
  const key = req.headers["sec-websocket-key"];
  const accept = crypto.createHash("sha1").update(key + GUID).digest("base64");
  const protocol = req.headers["sec-websocket-protocol"];
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    + `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`);
  let bytes = Buffer.alloc(0);
  socket.on("data", (data) => {
    bytes = Buffer.concat([bytes, data]);
    for (let one; (one = parse(bytes)); bytes = one.rest) answer(socket, one);
  });
  socket.on("error", () => {});
});
server.listen(0, "127.0.0.1", () => {
  console.error(`listening on 127.0.0.1, port ${server.address().port}`);
});
