// The same as bench/deep.lua with Node's promises.
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) * 1e3; };

async function descend(depth) {
  if (depth === 0) { await null; return 0; }
  return await descend(depth - 1) + 1;
}

async function measure(name, depth, times) {
  for (let round = 0; round < 2; round++) {
    const start = cpu();
    for (let i = 0; i < times; i++) if (await descend(depth) !== depth) throw new Error('depth');
    if (round) console.log(`${name} ${((cpu() - start) / times / depth).toFixed(3)}`);
  }
}

async function main() {
  await measure('level_of_1000', 1000, 200);
  // Needs node --stack-size: the stack ends at some 10 000 levels.
  await measure('level_of_20000', 20000, 10);
}

main().catch(e => { console.error(String(e)); process.exit(1); });
