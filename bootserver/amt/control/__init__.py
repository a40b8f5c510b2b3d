"""Reading and changing a machine's AMT over WS-MAN."""
