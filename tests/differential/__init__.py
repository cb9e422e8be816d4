"""Every backend and OpenSSL verify the same chains. The verdicts are equal, or documented in docs/backends.md."""
