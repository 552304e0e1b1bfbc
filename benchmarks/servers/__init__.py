"""Servers that the benchmark starts as processes of their own; each takes the port as its first argument."""
