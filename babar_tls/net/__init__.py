"""Input and output: the connection drivers for blocking and for asyncio code, and their shared modules."""
