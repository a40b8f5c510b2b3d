"""Boots of emulated machines, for demonstration, benchmarks and the boot tests.

`qemu` is a machine from switch-on to its end. A benchmark's `cases` are run by `runner`, each on a
`site` of its own and perhaps over a `slow_link`, which is an export over `nbd`.
"""
