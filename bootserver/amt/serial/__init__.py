"""A remote machine's serial line as a terminal, for as many as want to watch."""
