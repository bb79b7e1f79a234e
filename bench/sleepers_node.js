// The same as bench/sleepers.lua with Node's promises and timers.
const fs = require('fs');

const [n, first, spread] = process.argv.slice(2).map(Number);
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) * 1e3; };
const report = (name, value) => console.log(`${name} ${value.toFixed(3)}`);
const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000));

function resident(key) {
  const status = fs.readFileSync('/proc/self/status', 'utf8');
  return +status.match(new RegExp(key + ':\\s+(\\d+)'))[1] * 1024;
}

async function sleeper(i) { await sleep(first + i * 7919 % 1000 / 1000 * spread); }

async function main() {
  const before = resident('VmRSS'), start = cpu(), tasks = [];
  for (let i = 1; i <= n; i++) tasks.push(sleeper(i));
  report('start', (cpu() - start) / n);
  for (const task of tasks) await task;
  report('start_fire', (cpu() - start) / n);
  report('bytes', (resident('VmHWM') - before) / n);
}

main();
