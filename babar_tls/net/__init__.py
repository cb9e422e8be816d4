"""Input and output: the connection drivers for blocking and for asyncio code, and what they share."""
