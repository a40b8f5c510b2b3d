"""Redirection: drives of ours in a remote machine (IDE-R, USB-R), and its serial line (SOL)."""
