"""TFTP for firmware: the names of the boot plane, by a transfer of our own.

`packets`, `options`, `transfer`, `first_answers` and `waiting` decide as data. `server`, `exchange`
and `sockets` do the I/O. `content` says what a name means.
"""
