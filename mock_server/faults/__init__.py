"""What can go wrong on the way to a client, each fault in one call: `docs/faults.md` lists them all.

A stream passes through layers, every one pure, so that a plan can be inspected without a socket:

1. the dialect's events (`mock_server.replies`), cut up by `chunking`;
2. what is done to the events: `edits`;
3. when they leave: `mock_server.pacing`, then stalls and the cut: `stream`;
4. their bytes, and how those are grouped and split: `framing`;
5. the framing of HTTP and the ending: `mock_server.delivery.wire_plan`.

`whole` holds the faults of an answer as a whole. `options` says once what an option may be, for Python, YAML and the
documentation.
"""
