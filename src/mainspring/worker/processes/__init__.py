"""Jobs in processes beside the worker, one at a time in each: `executor="process"`.

    worker                                                     process
    runner ──Order──► pool ──► child ══ socket, JSON ══► inside ──► the task
    runner ◄──────────── ends ◄══ notes, then the end ═══ inside ◄── ctx

`whereabouts` tells how a process finds a task, `wire` carries documents, `orders` and `ends` are the two that matter:
what to run, and what came of it. `child` is a process as the worker sees it, `inside` the same from within.
"""

in_job_process = False
"""Whether this is a process that runs jobs for a worker."""
