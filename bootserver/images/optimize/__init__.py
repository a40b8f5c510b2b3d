"""New images made of discs, with drivers and files put in, and ballast left out."""
