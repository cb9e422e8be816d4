"""Text for users: escaping, the log, and tracebacks without secrets."""
