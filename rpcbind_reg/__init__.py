"""Registering programs with rpcbind (port 111), finding them there, and being that rpcbind (RFC 1833, RFC 5665)."""
