"""WS-MAN: what is said to AMT over HTTP, and its digest login."""
