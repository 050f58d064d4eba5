"""The benchmark of Waypost: load, receiver and server as separate processes, checked by a ledger.

`python -m bench --help` explains the runs. The package never imports waypost; it starts the
program and speaks HTTP to it, as its users do. It needs Linux (it reads `/proc`).
"""
