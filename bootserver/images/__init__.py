"""The library of recovery images, and how each of them boots.

`directory` looks for files, `iso` and `plain_disk` inspect them, `digests` remembers, `library`
keeps. `add` brings new ones, by `download`, `copy` and `unpack` into a `part`. `recipes` says what
an image is, `menus` reads its boot menus. `decide` picks the way for a machine, `explain` tells it.
`tree` finds files in an image, `overlay` says what is served of it.
"""
