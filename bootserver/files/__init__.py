"""Files as all packages handle them: written whole, opened by version, served in pieces."""
