// The jobs of the bench of workers with Node's worker_threads: two of them, messages are cloned.
const { Worker, isMainThread, parentPort } = require("worker_threads");

function primes(n) {
  let count = 0;
  for (let i = 2; i <= n; i++) {
    let isPrime = true;
    for (let j = 2; j * j <= i; j++) {
      if (i % j === 0) {
        isPrime = false;
        break;
      }
    }
    if (isPrime) count++;
  }
  return count;
}

const RECORDS = 20000, RECORD_BYTES = 64, STRING_BYTES = 16 * 1024 * 1024;

function records() {
  const list = [];
  for (let i = 1; i <= RECORDS; i++)
    list.push({ id: i, name: "name " + String(i).padStart(7, "0"), price: i + 0.25,
      tags: ["red", "green", "blue"], available: i % 2 === 0 });
  return list;
}

function serve() {
  parentPort.on("message", ({ primesTo, value }) =>
    parentPort.postMessage(primesTo ? primes(primesTo) : value));
}

const now = () => Number(process.hrtime.bigint()) / 1e9;
const report = (name, value) => console.log(`${name} ${value.toFixed(3)}`);

function start() {
  const worker = new Worker(__filename);
  const waiting = [];
  worker.on("message", (message) => waiting.shift()(message));
  const run = (message) => new Promise((resolve) => {
    waiting.push(resolve);
    worker.postMessage(message);
  });
  return { run, end: () => worker.terminate() };
}

async function copy(worker, name, value, bytes, n) {
  await worker.run({ value });
  const begin = now();
  for (let i = 0; i < n; i++) await worker.run({ value });
  report(name, (2 * n * bytes) / (now() - begin) / 1e6);
}

async function main() {
  const workers = [start(), start()];
  await Promise.all(workers.map((worker) => worker.run({})));
  let begin = now(), started = 0;
  await Promise.all(workers.map(async (worker) => {
    while (started < 16) {
      started++;
      if ((await worker.run({ primesTo: 200000 })) !== 17984) throw new Error("wrong");
    }
  }));
  report("wall_ms", (now() - begin) * 1000);
  begin = now();
  for (let i = 0; i < 20000; i++) await workers[0].run({});
  report("round_trip_us", ((now() - begin) / 20000) * 1e6);
  begin = now();
  const n = 3000;
  await Promise.all(Array.from({ length: 64 }, async (_, lane) => {
    for (let i = 0; i < n; i++) await workers[lane % 2].run({});
  }));
  report("round_trip_64_us", ((now() - begin) / (64 * n)) * 1e6);
  await copy(workers[0], "records_mb", records(), RECORDS * RECORD_BYTES, 10);
  await copy(workers[0], "string_mb", "0123456789abcdef".repeat(STRING_BYTES / 16), STRING_BYTES, 20);
  workers.forEach((worker) => worker.end());
}

if (isMainThread) main();
else serve();
