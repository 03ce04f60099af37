"""The registry's edges on Twisted: registrar, portmapper service, client, calls passed on, broadcasts."""
