// The same as bench/processes.lua with Node.
const execFile = require('util').promisify(require('child_process').execFile);

const PROCESSES = 200, AT_ONCE = 16, WARM_UP = 20;

async function run(count, atOnce) {
  let left = count;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left-- > 0) await execFile('/bin/true');
  }));
}

async function measure(name, atOnce) {
  const start = process.hrtime.bigint();
  await run(PROCESSES, atOnce);
  const ns = Number(process.hrtime.bigint() - start);
  console.log(`${name} ${(ns / PROCESSES / 1e3).toFixed(3)}`);
}

async function main() {
  await run(WARM_UP, 1);
  await measure('one_by_one', 1);
  await measure('together', AT_ONCE);
}
main();
