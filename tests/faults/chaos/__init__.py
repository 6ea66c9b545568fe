"""Chaos: real programs on a real store, killed, stopped, cut off and starved at moments drawn from a seed.

`python -m faults.chaos` (or `make faults`) runs it; see `__main__`. Everybody writes down what he does (`records`), and
`faults.laws` and `evidence` hold that, and what the store has in the end, against what is promised.
"""
