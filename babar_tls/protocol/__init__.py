"""PostgreSQL's protocol without input or output. It uses no socket, clock, thread or event loop."""
