"""The same as bench/processes.lua with Python's asyncio, on uvloop where it is installed."""
import asyncio
import time
from asyncio.subprocess import DEVNULL, PIPE

PROCESSES = 200
AT_ONCE = 16
WARM_UP = 20


async def run_child():
    process = await asyncio.create_subprocess_exec(
        "/bin/true", stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    await process.communicate()
    assert process.returncode == 0


async def run(count, at_once):
    turns = iter(range(count))

    async def worker():
        for _ in turns:
            await run_child()

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def measure(name, at_once):
    start = time.monotonic()
    await run(PROCESSES, at_once)
    print(f"{name} {(time.monotonic() - start) / PROCESSES * 1e6:.3f}")


async def main():
    await run(WARM_UP, 1)
    await measure("one_by_one", 1)
    await measure("together", AT_ONCE)


try:
    import uvloop
    uvloop.install()
except ImportError:
    pass
asyncio.run(main())
