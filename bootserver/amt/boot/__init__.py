"""A machine booted through AMT: foreseen, planned, done, watched."""
