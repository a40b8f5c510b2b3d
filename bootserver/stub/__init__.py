"""The stub: the tiny disc that a machine reads first, planned as data, then written.

`spec`, `network` and `plan` decide. `render`, `fat`, `pack`, `efi_file`, `partitions` and `write`
make it. `registry` knows each one by its token. `packages` and `collect` bring the loaders.
"""
