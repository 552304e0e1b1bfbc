"""Whether the figures can be trusted: counts held against the server's, the clock against a known schedule."""
