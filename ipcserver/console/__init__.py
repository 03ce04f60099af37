"""The web console: what the server holds and what it says to its clients, for eyes; it changes nothing."""
