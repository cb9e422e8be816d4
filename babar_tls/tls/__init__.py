"""TLS over memory, shared by all backends: the contract, the connection, the files that contexts are made from."""
