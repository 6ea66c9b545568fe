"""The worker on the real embedded store, in this process and in processes of its own."""
