"""Real servers that the tests start for themselves: PostgreSQL, an S3 object store. Loopback only, always killed."""
