"""bootserver: boot PCs from a recovery ISO in RAM, started by a tiny stub."""
