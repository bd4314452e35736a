"""Real servers that the tests start for themselves, on the loopback only, and always stop."""
