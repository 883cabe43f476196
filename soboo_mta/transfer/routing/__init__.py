"""Where mail goes: the operator's routes, MX hosts, and the addresses behind them."""
