"""What a dashboard reads, with 1,000,000 live and 1,000,000 finished jobs: `python -m bench.reads sqlite postgres`.

Each kind of store is filled once, with jobs in seven queues, of twelve tasks, in every state, some of them tagged. Then
each read is measured alone: in time of processors, client and server together, and (in brackets) by the clock.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from mainspring import Mainspring

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.postgres import running_postgres
from servers.valkey import running_valkey

SIZE = 1_000_000
BUDGET_MS = 300

# A number n from 1 to SIZE tells what each job is. Ids stand in the order of time, as those of real jobs do.
QUEUE = "CASE WHEN n % 1000 = 7 THEN 'rare' ELSE 'queue ' || (n % 6) END"
TASK = "CASE WHEN n % 5000 = 3 THEN 'seldom' ELSE 'task ' || (n % 11) END"
ARGS = (
    """'{"number":' || n || ',"email":"user' || (n % 977) || '@example.com",'"""
    """ || '"path":"/srv/uploads/2031/05/' || n || '.jpg"}'"""
)
OPTIONS = """CASE WHEN n % 50 = 0 THEN '{"tags":["vip"]}' WHEN n % 20000 = 5 THEN '{"tags":["odd"]}' END"""
LIVE = (
    "CASE WHEN n % 100 < 6 THEN 'scheduled' WHEN n % 100 = 6 THEN 'blocked' WHEN n % 1000 = 8 THEN 'running' "
    "ELSE 'queued' END"
)
FINAL = "CASE WHEN n % 50 = 1 THEN 'dead' WHEN n % 100 = 2 THEN 'cancelled' ELSE 'completed' END"
ERROR = (
    """CASE WHEN n % 50 = 1 THEN '{"type":"' || CASE WHEN n % 3 = 0 THEN 'OSError' ELSE 'ValueError' END || """
    """'","message":"no answer from host ' || (n % 40) || ' after ' || n || ' ms",'"""
    """ || '"traceback":"Traceback: a line\\nand more"}' END"""
)
LIVE_ROWS = f"""
INSERT INTO mainspring_jobs (id, task, queue, state, args, priority, created_at, run_at, options, worker, lease)
SELECT 'a' || substr('0000000000' || n, -10), {TASK}, {QUEUE}, {LIVE}, {ARGS}, 5, :now - {SIZE} + n,
       :now - {SIZE} + n + CASE WHEN n % 100 < 6 THEN 90000000 ELSE 0 END, {OPTIONS}, NULL, 0
FROM n;
"""
FINAL_ROWS = f"""
INSERT INTO mainspring_finished (
    id, task, queue, state, args, priority, attempt, crashes, postponed, lease, created_at, run_at, started_at,
    finished_at, worker, cancel_requested, result, error, history, options, partition, cost
)
SELECT 'b' || substr('0000000000' || n, -10), {TASK}, {QUEUE}, {FINAL}, {ARGS}, 5, 1, 0, 0, 1,
       :now - 2 * {SIZE} + n, :now - 2 * {SIZE} + n, :now - 2 * {SIZE} + n, :now - {SIZE} + n, 'w', :false, '1',
       {ERROR}, '[]', {OPTIONS}, '', 1
FROM n;
"""
QUEUES = f"INSERT INTO mainspring_queues (name) SELECT DISTINCT {QUEUE} FROM n;"

LUA = """
local ns, from, to = KEYS[1] .. ':', tonumber(ARGV[1]), tonumber(ARGV[2])
local now, size = tonumber(ARGV[3]), tonumber(ARGV[4])
for n = from, to do
  local queue = n % 1000 == 7 and 'rare' or 'queue ' .. n % 6
  local task = n % 5000 == 3 and 'seldom' or 'task ' .. n % 11
  local args = '{"number":' .. n .. ',"email":"user' .. n % 977 .. '@example.com","path":"/srv/uploads/2031/05/'
    .. n .. '.jpg"}'
  local options = n % 50 == 0 and '{"tags":["vip"]}' or n % 20000 == 5 and '{"tags":["odd"]}'
  redis.call('SADD', ns .. 'queues', queue)
  local state = n % 100 < 6 and 'scheduled' or n % 100 == 6 and 'blocked' or n % 1000 == 8 and 'running' or 'queued'
  local id, at = string.format('a%010d', n), now - size + n
  local run_at = state == 'scheduled' and at + 90000000 or at
  redis.call('HSET', ns .. 'job:' .. id, 'task', task, 'queue', queue, 'state', state, 'args', args, 'created_at', at,
    'run_at', run_at)
  if options then redis.call('HSET', ns .. 'job:' .. id, 'options', options, 'special', 1) end
  redis.call('ZADD', ns .. state .. ':' .. queue, at, id)
  if state == 'queued' then redis.call('ZADD', ns .. 'order:' .. queue, 5 * 2 ^ 43 + run_at, id) end
  if state == 'scheduled' then redis.call('ZADD', ns .. 'due:' .. queue, run_at, id) end
  state = n % 50 == 1 and 'dead' or n % 100 == 2 and 'cancelled' or 'completed'
  id = string.format('b%010d', n)
  redis.call('HSET', ns .. 'job:' .. id, 'task', task, 'queue', queue, 'state', state, 'args', args, 'created_at',
    at - size, 'run_at', at - size, 'started_at', at - size, 'finished_at', at, 'attempt', 1, 'lease', 1, 'worker', 'w',
    'result', '1')
  if options then redis.call('HSET', ns .. 'job:' .. id, 'options', options) end
  if state == 'dead' then
    redis.call('HSET', ns .. 'job:' .. id, 'error', '{"type":"' .. (n % 3 == 0 and 'OSError' or 'ValueError')
      .. '","message":"no answer from host ' .. n % 40 .. ' after ' .. n .. ' ms","traceback":"Traceback: a line"}')
  end
  redis.call('ZADD', ns .. state .. ':' .. queue, at, id)
end
"""


@contextmanager
def sqlite_store(folder: Path) -> Iterator[str]:
    path = folder / "reads.db"
    url = f"sqlite:///{path}"
    Mainspring(url).store.migrate()
    numbers = f"WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {SIZE}) "
    with sqlite3.connect(path, isolation_level=None) as raw:
        for text in (LIVE_ROWS, FINAL_ROWS, QUEUES):
            head, _, rest = text.partition("SELECT")
            raw.execute(f"{head} {numbers} SELECT {rest}", {"now": now(), "false": 0})
    yield url


@contextmanager
def postgres_store(folder: Path) -> Iterator[str]:
    with running_postgres() as server:
        url = f"{server.url}?schema=reads"
        Mainspring(url).store.migrate()
        with psycopg.connect(server.url, autocommit=True) as raw:
            raw.execute("SET search_path = reads; SET synchronous_commit = off")
            raw.execute(f"CREATE TEMP TABLE n AS SELECT generate_series(1, {SIZE}) AS n")
            raw.execute("SELECT open_day(%s)", [now()])
            for text in (LIVE_ROWS, FINAL_ROWS, QUEUES):
                text = text.replace("mainspring_", "").replace(
                    "substr('0000000000' || n, -10)", "lpad(n::text, 10, '0')"
                )
                raw.execute(text.replace(":now", str(now())).replace(":false", "false"))
            raw.execute("VACUUM ANALYZE")
        yield url


@contextmanager
def redis_store(folder: Path) -> Iterator[str]:
    with running_valkey() as server:
        client = redis.Redis.from_url(server.url)
        fill = client.register_script(LUA)
        for first in range(1, SIZE + 1, 5000):
            fill(["{reads}"], [first, min(first + 4999, SIZE), now(), SIZE])
        yield f"{server.url}{'&' if '?' in server.url else '?'}namespace=reads"


STORES = {"sqlite": sqlite_store, "postgres": postgres_store, "redis": redis_store}


def now() -> int:
    return time.time_ns() // 1_000_000


CONDITIONS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "state": ({"state": "queued"}, {"state": "dead"}, {"state": ["dead", "cancelled"]}),
    "queue": ({"queue": "queue 1"}, {"queue": "rare"}),
    "task": ({"task": "task 1"}, {"task": "seldom"}),
    "text": ({"text": "user7@"}, {"text": "nowhere to be found"}),
    "tag": ({"tag": "vip"}, {"tag": "odd"}, {"tag": "nobody's"}),
    "since": ({"since": "10m"},),
}


def filters() -> Iterator[Mapping[str, Any]]:
    """None, each alone, and every two together."""
    yield {}
    for all in CONDITIONS.values():
        yield from all
    for one, other in combinations(CONDITIONS.values(), 2):
        for first in one:
            for second in other:
                yield {**first, **second}


def processor_seconds() -> Mapping[int, float]:
    """Spent so far by this process, and by each of the servers that it has started: other programs take none of it."""
    this = psutil.Process()
    return {each.pid: sum(each.cpu_times()[:2]) for each in (this, *this.children(recursive=True))}


def best(read: Callable[[], Any], times: int = 3) -> tuple[float, float]:
    """Milliseconds that it took, the best of some; and of processors, the mean."""
    took = []
    before = processor_seconds()
    for _ in range(times):
        began = time.perf_counter()
        read()
        took.append((time.perf_counter() - began) * 1000)
    spent = sum(seconds - before.get(pid, 0) for pid, seconds in processor_seconds().items())
    return min(took), spent * 1000 / times


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reads")
    parser.add_argument("stores", nargs="*", metavar="STORE", help=", ".join(STORES))
    options = parser.parse_args()
    for name in options.stores or STORES:
        with tempfile.TemporaryDirectory() as folder, STORES[name](Path(folder)) as url:
            print(f"== {name}", flush=True)
            measure(url)


def measure(url: str) -> None:
    """All reads of one store, the slowest first: by the clock, and in time of processors."""
    with Mainspring(url) as app:
        queues = best(partial(app.queues.list, quick=True))
        errors = best(app.jobs.errors)
        rows = []
        for where in filters():
            found = best(partial(app.jobs.find, limit=50, **where))
            told = best(partial(app.jobs.tally, **where))
            rows.append((sum(each[1] for each in (queues, found, told)), found, told, where))
        rows.sort(key=lambda row: -row[0])
        for whole, found, told, where in rows:
            print(
                f"{whole:5.0f} ms  find {found[1]:4.0f} ({found[0]:.0f})  tally {told[1]:4.0f} ({told[0]:.0f})  {where}"
            )
        print(f"queues.list {queues[1]:.0f} ({queues[0]:.0f}) ms, errors {errors[1]:.0f} ({errors[0]:.0f}) ms")
        over = sum(row[0] > BUDGET_MS for row in rows)
        print(f"{len(rows)} combinations of filters, with queues.list: {over} over {BUDGET_MS} ms of processors")


if __name__ == "__main__":
    main()
