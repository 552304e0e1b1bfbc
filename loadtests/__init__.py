"""Load tests on Locust that say what was measured. Importing this package imports nothing else.

Locust monkey-patches the process that imports it, so what a test or a command may want in its own process is in modules
that never do: `plan`, `options`, `prompts`, `arrivals` (what to send, and when), `calls` and `session` (the calls, and
the gate that their requests pass), `samples`, `tally` and `report` (what came of it: one value a call, and every figure
from those). Only users, locustfiles, and what stands between them and Locust (`bench`, `pacer`, `wiring`, `run`) import
it.
"""
