"""The memory: bytes, rows and traces. It knows no other room."""
