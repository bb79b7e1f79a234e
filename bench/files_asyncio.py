"""The same as bench/files.lua with Python, on uvloop where it is installed: neither has files of its
own, so four threads read and write, as many as libuv has."""
import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor

FILES = 10000
AT_ONCE = 64
CHUNK = 65536
CONTENT = b"x" * 4096
work, folder, total_bytes = sys.argv[1], sys.argv[2], int(sys.argv[3])


def read(path):
    with open(path, "rb", buffering=0) as file:
        return len(file.read())


def write(path):
    with open(path, "wb", buffering=0) as file:
        return file.write(CONTENT)


async def each_file(run, fn):
    paths = (f"{folder}/{i:05}" for i in range(FILES))

    async def worker():
        total = 0
        for path in paths:
            total += await run(fn, path)
        return total

    return sum(await asyncio.gather(*(worker() for _ in range(AT_ONCE))))


async def read_chunks(run):
    total = 0
    with open(f"{folder}/big", "rb", buffering=0) as file:
        while data := await run(file.read, CHUNK):
            total += len(data)
    return total


async def main():
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(4)

    def run(fn, argument):
        return loop.run_in_executor(pool, fn, argument)

    start = time.monotonic()
    if work == "sequential":
        total = await read_chunks(run)
    else:
        total = await each_file(run, read if work == "read" else write)
    seconds = time.monotonic() - start
    assert total == total_bytes
    print(f"file_us {seconds / FILES * 1e6:.3f}")
    print(f"megabytes {total / seconds / 1e6:.3f}")


try:
    import uvloop
    uvloop.install()
except ImportError:
    pass
asyncio.run(main())
