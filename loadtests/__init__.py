"""Load tests on Locust that say what was measured. Importing this package imports nothing else.

Locust monkey-patches the process that imports it, so what a test or a command may want in its own process is in modules
that never do: `plan` (what to send), `session` (the gate that requests pass), `measures`, `outcomes` and `tally` (what
came of it), `recorder` (where it is collected), `report` (how it is told). Only `users`, `wiring`, `run` and the
locustfiles `qps` and `stream` import Locust.
"""
