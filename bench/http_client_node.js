// The same as bench/http_client.lua with Node's http.
const http = require('http');
const [requests, atOnce, port] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: atOnce });
const url = `http://127.0.0.1:${port}/static`;
let left = requests;

const get = () => new Promise((resolve, reject) => {
  http.get(url, { agent }, response => {
    let size = 0;
    response.on('data', part => { size += part.length; });
    response.on('end', () => resolve(size));
  }).on('error', reject);
});

const ask = async () => {
  while (left > 0) {
    left--;
    if (await get() !== 13) throw new Error('a body is wrong');
  }
};

const begin = process.hrtime.bigint();
Promise.all(Array.from({ length: atOnce }, ask)).then(() => {
  const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
  console.log(`requests ${(requests / seconds).toFixed(1)}`);
  process.exit(0);
});
