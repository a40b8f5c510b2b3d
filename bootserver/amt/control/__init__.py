"""What AMT can be asked and told over WS-MAN: a function for each."""
