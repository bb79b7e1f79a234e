// The same as bench/tasks.lua with Node's promises.
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) * 1e3; };

async function cost(name, n, fn) {
  await fn(n / 20);
  const start = cpu();
  await fn(n);
  console.log(`${name} ${((cpu() - start) / n).toFixed(3)}`);
}

function completion() {
  let resolve;
  const task = new Promise(r => { resolve = r; });
  return { task, resolve };
}

async function trivial(x) { return x; }
async function hop(task, x) { await task; return x; }
async function yields(x) { await null; return x; }

async function main() {
  await cost('spawn_await', 1e6, async n => { for (let i = 0; i < n; i++) await trivial(i); });
  await cost('suspend_shared', 1e6, async n => {
    for (let batch = 0; batch < n / 1000; batch++) {
      const gate = completion(), tasks = [];
      for (let i = 0; i < 1000; i++) tasks.push(hop(gate.task, i));
      gate.resolve();
      for (const task of tasks) await task;
    }
  });
  await cost('suspend_completion', 5e5, async n => {
    for (let i = 0; i < n; i++) {
      const gate = completion(), task = hop(gate.task, i);
      gate.resolve();
      await task;
    }
  });
  await cost('suspend_yield', 5e5, async n => { for (let i = 0; i < n; i++) await yields(i); });
  const done = trivial(1);
  await cost('await_done', 2e6, async n => { for (let i = 0; i < n; i++) await done; });
}

main();
