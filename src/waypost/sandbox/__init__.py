"""Transforms run here: in processes of their own, which can be lost without loss.

The server's side is `pool` (who goes next), `waiting` and `keeper` (the processes). The other side
is `nursery` (the process that makes workers), `worker` (reads a call, answers it), `javascript`,
`template` and `confine`; it imports nothing of the server. `frames` is what the two sides speak.
"""
