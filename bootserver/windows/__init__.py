"""Windows PE from the outside: its drivers, and what is in its images.

`inspect` says what is in a disc of Windows PE, which `wim` reads. `drivers` is the library of
drivers, whose archives `unpack` unpacks. `inf` says what a driver's INF file offers to a `target`;
`inf_text` reads the file's language. `startup` edits what an image runs when it starts, and
`overlay` serves a disc with drivers put in. `changes` plans what a new image has and lacks.
"""
