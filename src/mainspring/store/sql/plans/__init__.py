"""What the SQL stores decide in memory: pure, for whole sets at once, from what was read before."""
