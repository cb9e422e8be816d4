"""TLS over memory, shared by all backends: the contract, the connection, and the files of contexts."""
