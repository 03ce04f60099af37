"""Sun RPC on Twisted: servers and clients over TCP, UDP and local sockets."""
