"""Connect drivers over a verified, channel-bound connection: one module for each driver."""
