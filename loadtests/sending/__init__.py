"""How calls leave: the gate that all requests pass, kinds of calls, clients, and the pace."""
