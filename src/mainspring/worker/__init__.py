"""Runs: claims jobs, runs them to an outcome, settles them, and keeps its leases meanwhile.

pump ──claim──► runner ──Outcome──► settler ──Settlement──► store ──► observers
pulse   the heartbeat, in a thread of its own
chores  reap, cron, prune: what somebody has to do now and then
"""
