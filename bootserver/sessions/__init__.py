"""The ledger of boots: what machines did, when, and why one does not move.

`tracker` is the state machine. `ledger` keeps the boots that go on in memory (`live`). It writes
all of them to `store`, the only writer of the tables. `diagnosis` finds why a boot stands still,
`bus` tells watchers. `profiles` says what machines boot.
"""
