"""Real servers for the tests, from wheels: on free loopback ports, with their data in temporary folders."""
