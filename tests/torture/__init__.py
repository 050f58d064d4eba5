"""The kill test: the real server under load, killed again and again, and nothing may be lost.

The server runs as its users run it, in a process of its own. What was posted and what was answered
stands in the senders' ledger, what arrived in the receivers' ledger, written by another process
that no kill touches. In the end the two ledgers and the database must tell one story (`oracle`).

The product knows nothing of this: `saboteur` runs its command line with crash points, or with bugs
planted to see that the oracle finds them.
"""
