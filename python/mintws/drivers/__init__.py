"""The half of clients and servers that all drivers share: it logs, and names sockets and TLS contexts, but does no I/O."""
