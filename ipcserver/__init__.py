"""System V message queues, semaphores and segments over Sun RPC: the server, its command line, its Python client."""
