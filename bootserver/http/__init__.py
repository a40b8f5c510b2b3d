"""Both planes over HTTP.

The boot plane: `boot_app` routes, `ranges`, `conditions` and `replies` decide as data, `files`
sends. The admin plane: `admin_app` puts together `loopback`, `dashboard`, `api` and `metrics`. For
both, `port` accepts connections, `connections` says which may stay, `incoming` reads a request.
"""
