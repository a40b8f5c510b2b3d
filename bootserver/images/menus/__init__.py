"""What a disc's own boot menus offer: a reader for each loader's language."""
