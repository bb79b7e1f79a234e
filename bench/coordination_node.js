// The same as bench/coordination.lua with Node: channels and semaphores made of promises, Node's
// object streams, Promise.all, async generators, AbortSignal.
const assert = require('assert');
const { PassThrough } = require('stream');
const { once } = require('events');

const CAPACITY = 100, CONTENDERS = 100, BATCH = 10000, LIMIT = 100;

const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) * 1e3; };

async function cost(name, n, fn) {
  await fn(n / 20);
  const start = cpu();
  await fn(n);
  console.log(`${name} ${((cpu() - start) / n).toFixed(3)}`);
}

class Channel {
  constructor(capacity) {
    this.capacity = capacity;
    this.items = [];
    this.senders = [];
    this.receivers = [];
  }

  async send(x) {
    if (this.receivers.length > 0) {
      this.receivers.shift()(x);
    } else if (this.items.length < this.capacity) {
      this.items.push(x);
    } else {
      await new Promise(resolve => { this.senders.push({ x, resolve }); });
    }
  }

  async recv() {
    const sender = this.senders.shift();
    if (sender) {
      sender.resolve();
      this.items.push(sender.x);
    }
    if (this.items.length > 0) return this.items.shift();
    return await new Promise(resolve => { this.receivers.push(resolve); });
  }
}

class Semaphore {
  constructor(free) {
    this.free = free;
    this.waiters = [];
  }

  async acquire() {
    if (this.free > 0) this.free--;
    else await new Promise(resolve => { this.waiters.push(resolve); });
  }

  release() {
    if (this.waiters.length > 0) this.waiters.shift()();
    else this.free++;
  }
}

const pingPong = capacity => async n => {
  const there = new Channel(capacity), back = new Channel(capacity);
  const echo = (async () => { for (let i = 0; i < n; i++) await back.send(await there.recv()); })();
  for (let i = 0; i < n; i++) {
    await there.send(i);
    assert(await back.recv() === i);
  }
  await echo;
};

const receive = capacity => async n => {
  const channel = new Channel(capacity);
  const producer = (async () => { for (let i = 0; i < n; i++) await channel.send(i); })();
  for (let i = 0; i < n; i++) assert(await channel.recv() === i);
  await producer;
};

async function receiveInLoop(n) {
  const stream = new PassThrough({ objectMode: true, highWaterMark: CAPACITY });
  const producer = (async () => {
    for (let i = 1; i <= n; i++) if (!stream.write(i)) await once(stream, 'drain');
    stream.end();
  })();
  let count = 0;
  for await (const x of stream) assert(x === ++count);
  assert(count === n);
  await producer;
}

async function contend(semaphore, n) {
  for (let i = 0; i < n; i++) {
    await semaphore.acquire();
    semaphore.release();
  }
}

async function handOver(n) {
  const semaphore = new Semaphore(1), tasks = [];
  for (let i = 0; i < CONTENDERS; i++) tasks.push(contend(semaphore, n / CONTENDERS));
  await Promise.all(tasks);
}

async function hop(x) { await null; return x; }

async function all(n) {
  for (let batch = 0; batch < n / BATCH; batch++) {
    const tasks = [];
    for (let i = 0; i < BATCH; i++) tasks.push(hop(i));
    await Promise.all(tasks);
  }
}

async function map(n) {
  const results = new Array(n);
  let at = 0;
  const worker = async () => { while (at < n) { const i = at++; results[i] = await hop(i); } };
  await Promise.all(Array.from({ length: LIMIT }, worker));
}

async function* numbers(n) { for (let i = 1; i <= n; i++) yield i; }

async function stream(n) {
  let count = 0;
  for await (const x of numbers(n)) assert(x === ++count);
}

async function register(n) {
  const { signal } = new AbortController();
  const nothing = () => {};
  for (let i = 0; i < n; i++) {
    signal.addEventListener('abort', nothing);
    signal.removeEventListener('abort', nothing);
  }
}

async function main() {
  await cost('ping_pong', 2e5, pingPong(0));
  await cost('ping_pong_buffer', 2e5, pingPong(1));
  await cost('item', 1e6, receive(CAPACITY));
  await cost('item_loop', 1e6, receiveInLoop);
  await cost('item_handed', 5e5, receive(0));
  await cost('semaphore', 5e5, handOver);
  await cost('semaphore_free', 5e5, n => contend(new Semaphore(1), n));
  await cost('all', 20 * BATCH, all);
  await cost('map', 2e5, map);
  await cost('stream', 1e6, stream);
  await cost('register', 2e5, register);
}

main();
