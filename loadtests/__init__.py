"""Load tests on Locust that say what was measured. Importing this package imports nothing else.

Locust monkey-patches the process that imports it, so what a test or a command may want in its own process is in rooms
that never do: `planning` (what to send, and when), `sending` (calls, and the gate that their requests pass),
`measuring` (one sample a call, and every figure from those), `playing` (what is done to the mock meanwhile), `judging`
(SLOs, exit code, comparison), `reporting`; `trusting` (whether to believe the figures) needs no more of it than gevent.
The modules of this folder are users, locustfiles, and what stands between them and Locust.
"""
