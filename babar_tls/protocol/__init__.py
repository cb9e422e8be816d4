"""PostgreSQL's protocol without input or output: bytes and decisions, no socket, clock, thread or loop."""
