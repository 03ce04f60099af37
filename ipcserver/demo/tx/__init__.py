"""The process that the tour's server runs in."""
