"""Every backend and OpenSSL verify the same chains: the verdicts agree, or docs/backends.md has the difference."""
