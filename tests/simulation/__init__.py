"""A world of workers in one thread, on a clock of its own: everything that happens follows from a seed.

    loop       an event loop whose time jumps to the next thing to be done; its strands can be held, or cut short
    ledger     the reference store, which writes down what becomes of each job
    network    the way from each process to the store, and what gets lost on it
    world      processes (real `Worker`s), operators and producers in it
    chaos      what a seed lets happen
    jobs       the app whose jobs they run
    trial      one seed: a world with its chaos, its history, and what the laws of `faults` say to that

In the folder of the tests, `python -m simulation --seed 7` replays a seed and shows what happened.
"""
