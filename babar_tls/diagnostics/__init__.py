"""Text for people: escaping, the log, and tracebacks without secrets."""
