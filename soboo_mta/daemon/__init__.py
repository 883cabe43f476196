"""The composition root: builds every room's objects from the settings and runs them.

With `workers = 0` one process does everything. Otherwise a supervisor binds the sockets,
forks the workers and the control worker, and starts again what died.
"""
