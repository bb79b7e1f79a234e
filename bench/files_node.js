// The same as bench/files.lua with Node's promises.
const { open, readFile, writeFile } = require('fs').promises;

const FILES = 10000, AT_ONCE = 64, CHUNK = 65536, CONTENT = Buffer.alloc(4096, 'x');
const [work, folder, bytes] = process.argv.slice(2);

async function read(path) {
  return (await readFile(path)).length;
}

async function write(path) {
  await writeFile(path, CONTENT);
  return CONTENT.length;
}

async function eachFile(work) {
  let next = 0, total = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < FILES) {
      const n = await work(`${folder}/${String(next++).padStart(5, '0')}`);
      total += n;
    }
  }));
  return total;
}

async function readChunks() {
  const file = await open(`${folder}/big`), data = Buffer.alloc(CHUNK);
  let total = 0;
  for (;;) {
    const { bytesRead } = await file.read(data, 0, CHUNK, null);
    if (bytesRead === 0) break;
    total += bytesRead;
  }
  await file.close();
  return total;
}

async function main() {
  const start = process.hrtime.bigint();
  const chunks = work === 'sequential';
  const total = await (chunks ? readChunks() : eachFile(work === 'read' ? read : write));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (total !== Number(bytes)) throw new Error(`${total} bytes`);
  console.log(`file_us ${(seconds / FILES * 1e6).toFixed(3)}`);
  console.log(`megabytes ${(total / seconds / 1e6).toFixed(3)}`);
}
main();
