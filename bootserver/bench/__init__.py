"""Boots of emulated machines, for demonstration, benchmarks and the boot tests.

`qemu` is a machine from switch-on to its end. `runner` runs a benchmark's `cases`, each on its own
`site`. Some read over a `slow_link`, which is an export over `nbd`.
"""
