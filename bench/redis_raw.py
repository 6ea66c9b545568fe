"""The raw store loop on Redis: the least that scripts can do for a queue with claims, results and a history.

Same server, same batches, blocking redis-py; no leases in other keys, no unique keys, no gates. Each job is a hash,
beside a sorted set for the order and one for those that are done. What Mainspring does is stated as a ratio of this.
One by one it is Mainspring's own script that is called, by a bare EVALSHA: what is measured there is what goes around.
"""

from __future__ import annotations

import asyncio
import json
import time

import redis
import redis.asyncio

from mainspring.store.redis.scripts import script

__all__ = ["PREFIX", "claim_and_settle", "insert_awaited", "insert_batches", "insert_singly"]

PREFIX = "{mainspring_raw}"

_INSERT = """
for number = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1] .. ':job:' .. ARGV[number], 'state', 'queued', 'task', 'noop', 'queue', 'default',
    'created_at', 0, 'run_at', 0, 'args', ARGV[number + 1])
  redis.call('ZADD', KEYS[1] .. ':queued', 0, ARGV[number])
end
return #ARGV / 2
"""

_CLAIM = """
local rows = {}
local found = redis.call('ZPOPMIN', KEYS[1] .. ':queued', ARGV[1])
for number = 1, #found, 2 do
  local key = KEYS[1] .. ':job:' .. found[number]
  rows[#rows + 1] = { found[number], redis.call('HGETALL', key) }
  redis.call('HSET', key, 'state', 'running', 'lease', 1, 'worker', 'raw', 'started_at', 1)
end
return rows
"""

_SETTLE = """
local done = cjson.decode(ARGV[1])
for _, each in ipairs(done) do
  local key = KEYS[1] .. ':job:' .. each[1]
  if redis.call('HGET', key, 'lease') == '1' then
    redis.call('HSET', key, 'state', 'completed', 'finished_at', 2, 'result', each[2])
    redis.call('ZADD', KEYS[1] .. ':completed', 2, each[1])
  end
end
return #done
"""

_ARGS = json.dumps({"user_id": 7, "email": "a@b.c"})


def _open(url: str) -> redis.Redis:
    client = redis.Redis.from_url(url, decode_responses=True)
    for key in client.scan_iter(f"{PREFIX}:*", count=10_000):
        client.unlink(key)
    return client


def _document(number: int) -> str:
    return f'{{"jobs":[{{"id":"{number:036d}","task":"noop","queue":"default","args":{json.dumps(_ARGS)}}}]}}'


def insert_singly(url: str, jobs: int) -> float:
    """Jobs per second, an EVALSHA each."""
    with _open(url) as client:
        insert = client.script_load(script("insert_plain").text)
        start = time.perf_counter()
        for number in range(jobs):
            client.evalsha(insert, 1, PREFIX, _document(number))
        return jobs / (time.perf_counter() - start)


def insert_awaited(url: str, jobs: int) -> float:
    """The same on an event loop."""

    async def measured() -> float:
        async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
            insert = await client.script_load(script("insert_plain").text)
            start = time.perf_counter()
            for number in range(jobs):
                await client.evalsha(insert, 1, PREFIX, _document(number))
            return jobs / (time.perf_counter() - start)

    _open(url).close()
    return asyncio.run(measured())


def insert_batches(url: str, jobs: int, batch: int) -> float:
    """Jobs per second, so many in one EVALSHA."""
    with _open(url) as client:
        insert = client.script_load(_INSERT)
        start = time.perf_counter()
        for first in range(0, jobs, batch):
            client.evalsha(insert, 1, PREFIX, *_drafts(first, batch))
        return jobs / (time.perf_counter() - start)


def _drafts(first: int, jobs: int) -> list[str]:
    return [text for number in range(first, first + jobs) for text in (f"{number:036d}", _ARGS)]


def claim_and_settle(url: str, jobs: int, batch: int) -> float:
    """Jobs per second: one script claims a batch, another ends it with results."""
    insert_batches(url, jobs, 1000)
    with redis.Redis.from_url(url, decode_responses=True) as client:
        claim, settle = client.script_load(_CLAIM), client.script_load(_SETTLE)
        start = time.perf_counter()
        while rows := client.evalsha(claim, 1, PREFIX, batch):
            client.evalsha(settle, 1, PREFIX, json.dumps([[row[0], "null"] for row in rows]))
        return jobs / (time.perf_counter() - start)
