"""Jobs in your own transaction: one small program per library."""
