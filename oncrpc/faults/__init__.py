"""A server that is wrong on request, for testing other people's clients."""
