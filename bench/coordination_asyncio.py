"""The same as bench/coordination.lua with Python's asyncio, on uvloop where it is installed."""
import asyncio
import time

CAPACITY = 100
CONTENDERS = 100
BATCH = 10000
LIMIT = 100


async def cost(name, n, fn):
    await fn(n // 20)
    start = time.process_time()
    await fn(n)
    print(f"{name} {(time.process_time() - start) / n * 1e9:.3f}")


async def ping_pong(n):
    there, back = asyncio.Queue(1), asyncio.Queue(1)

    async def echo():
        for _ in range(n):
            await back.put(await there.get())

    task = asyncio.create_task(echo())
    for i in range(n):
        await there.put(i)
        assert await back.get() == i
    await task


async def receive(n):
    queue = asyncio.Queue(CAPACITY)

    async def produce():
        for i in range(n):
            await queue.put(i)

    task = asyncio.create_task(produce())
    for i in range(n):
        assert await queue.get() == i
    await task


async def contend(semaphore, n):
    for _ in range(n):
        async with semaphore:
            pass


async def hand_over(n):
    semaphore = asyncio.Semaphore(1)
    await semaphore.acquire()
    tasks = [asyncio.create_task(contend(semaphore, n // CONTENDERS)) for _ in range(CONTENDERS)]
    await asyncio.sleep(0)
    semaphore.release()  # all of them wait by now
    await asyncio.gather(*tasks)


async def hop(x):
    await asyncio.sleep(0)
    return x


async def gather(n):
    for _ in range(n // BATCH):
        assert len(await asyncio.gather(*(hop(i) for i in range(BATCH)))) == BATCH


async def map_limited(n):
    results, rest = [None] * n, iter(range(n))

    async def worker():
        for i in rest:
            results[i] = await hop(i)

    await asyncio.gather(*(worker() for _ in range(LIMIT)))
    assert results[-1] == n - 1


async def numbers(n):
    for i in range(n):
        yield i


async def stream(n):
    count = 0
    async for x in numbers(n):
        assert x == count
        count += 1


async def main():
    await cost("ping_pong_buffer", 50000, ping_pong)
    await cost("item", 1000000, receive)
    await cost("semaphore", 50000, hand_over)
    await cost("semaphore_free", 200000, lambda n: contend(asyncio.Semaphore(1), n))
    await cost("all", 4 * BATCH, gather)
    await cost("map", 200000, map_limited)
    await cost("stream", 1000000, stream)


try:
    import uvloop
    uvloop.install()
except ImportError:
    pass
asyncio.run(main())
