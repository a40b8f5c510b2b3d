"""Intel AMT: machines switched on, told what to boot, and watched, over their network card.

`hosts` remembers machines and reaches them by their `access`. `armed` records what they are told to
boot, so that a crash leaves nothing behind. `types` and `errors` are for all packages of AMT.
"""
