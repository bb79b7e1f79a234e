// Node's own WebSocket (--experimental-websocket) against a server that sends back what it gets:
// ws_client.js URL
const assert = require("assert");

const sent = ["", "x", "ä".repeat(62), "y".repeat(126), "z".repeat(70000), "€".repeat(300000)];
const bytes = new Uint8Array(100000).map((_, i) => i % 251);
const ws = new WebSocket(process.argv[2], ["other", "echo"]);
let next = 0;

ws.binaryType = "arraybuffer";
ws.onopen = () => {
  assert.strictEqual(ws.protocol, "echo");
  for (const text of sent) ws.send(text);
  ws.send(bytes);
};
ws.onmessage = ({ data }) => {
  if (next < sent.length) {
    assert.strictEqual(data, sent[next++]);
    return;
  }
  assert.deepStrictEqual(new Uint8Array(data), bytes);
  ws.close(4000, "done");
};
ws.onerror = (event) => {
  console.error("error", event.message);
  process.exitCode = 1;
};
ws.onclose = ({ code, wasClean }) => console.log("closed", code, wasClean);
