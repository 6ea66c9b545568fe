"""Redis or Valkey: a namespace per store, on the server that MAINSPRING_BENCH_REDIS or MAINSPRING_TEST_REDIS names,
else on one of our own that writes its file every second, as a user's does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from bench import redis_raw

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.valkey import running_valkey

__all__ = ["RedisGround", "redis_ground"]

NAMESPACE = "mainspring_bench"
AT_ONCE = 5000
"""How many copies one script makes."""

_COPY = """
local ns, listing, first, copies, all = KEYS[1] .. ':', ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local one = redis.call('ZRANGE', ns .. listing, 0, 0, 'WITHSCORES')
local fields = redis.call('HGETALL', ns .. 'job:' .. one[1])
local at = {}
for number = 1, #fields, 2 do at[fields[number]] = number + 1 end
local partition = at.partition and ':' .. fields[at.partition] or ''
local queue, final = fields[at.queue], at.finished_at ~= nil
for number = first, first + copies - 1 do
  local id = string.format('00000000-0000-7000-8000-%012x', number)
  local time = final and one[2] - number % 3600000 or one[2] - math.floor((all - number) / 100)
  if final then
    fields[at.finished_at] = time
  else
    fields[at.created_at], fields[at.run_at] = time, time
    redis.call('ZADD', ns .. 'order:' .. queue .. partition, 5 * 2 ^ 43 + time, id)
    if partition ~= '' then redis.call('ZADD', ns .. 'by-time:' .. queue, time, id) end
  end
  redis.call('HSET', ns .. 'job:' .. id, unpack(fields))
  redis.call('ZADD', ns .. listing, time, id)
end
return copies
"""


class RedisGround:
    name = "redis"

    def __init__(self, server: str) -> None:
        self._server = server
        self._client = redis.Redis.from_url(server, decode_responses=True)
        self._namespaces: list[str] = []
        about = self._client.info("server")
        product, version = (
            ("Valkey", about["valkey_version"]) if "valkey_version" in about else ("Redis", about["redis_version"])
        )
        policy = self._client.config_get("append*")
        self.title = f"{product} {version} (appendonly {policy['appendonly']}, appendfsync {policy['appendfsync']})"

    def fresh(self) -> str:
        namespace = f"{NAMESPACE}_{len(self._namespaces) + 1}"
        self._drop(f"{{{namespace}}}")
        self._namespaces.append(namespace)
        return f"{self._server}{'&' if '?' in self._server else '?'}namespace={namespace}"

    def forget(self) -> None:
        while self._namespaces:
            self._drop(f"{{{self._namespaces.pop()}}}")
        self._drop(redis_raw.PREFIX)

    def copy_queued(self, url: str, copies: int) -> None:
        self._copy(url, "queued", copies)

    def copy_finished(self, url: str, copies: int) -> None:
        self._copy(url, "completed", copies)

    def tidy(self, url: str) -> None:
        # A server rewrites its file when that has doubled, on a processor of its own if there is one.
        if self._client.config_get("appendonly")["appendonly"] == "yes":
            self._client.bgrewriteaof()
            while any(self._client.info("persistence")[f"aof_rewrite_{what}"] for what in ("in_progress", "scheduled")):
                time.sleep(0.05)

    def raw_enqueue(self, jobs: int) -> float:
        return redis_raw.insert_singly(self._server, jobs)

    def raw_aenqueue(self, jobs: int) -> float:
        return redis_raw.insert_awaited(self._server, jobs)

    def raw_enqueue_many(self, jobs: int, batch: int) -> float:
        return redis_raw.insert_batches(self._server, jobs, batch)

    def raw_drain(self, jobs: int, batch: int) -> float:
        return redis_raw.claim_and_settle(self._server, jobs, batch)

    def _drop(self, tag: str) -> None:
        keys = list(self._client.scan_iter(f"{tag}:*", count=10_000))
        for first in range(0, len(keys), AT_ONCE):
            self._client.unlink(*keys[first : first + AT_ONCE])

    def _copy(self, url: str, state: str, copies: int) -> None:
        tag = "{" + url.rpartition("=")[2] + "}"
        (listing,) = self._client.keys(f"{tag}:{state}:*")
        for first in range(1, copies + 1, AT_ONCE):
            some = min(AT_ONCE, copies + 1 - first)
            self._client.eval(_COPY, 1, tag, listing.removeprefix(f"{tag}:"), first, some, copies)


@contextmanager
def redis_ground() -> Iterator[RedisGround]:
    server = os.environ.get("MAINSPRING_BENCH_REDIS") or os.environ.get("MAINSPRING_TEST_REDIS")
    if server:
        ground = RedisGround(server)
        try:
            yield ground
        finally:
            ground.forget()
        return
    with running_valkey(appendonly="yes", appendfsync="everysec") as own:
        yield RedisGround(own.url)
