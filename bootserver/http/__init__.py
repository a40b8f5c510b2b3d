"""Both planes over HTTP.

The boot plane: `boot_app` routes, `ranges`, `conditions` and `replies` decide as data. `files` and
`bodies` send; `fast_lane` answers for what was served a moment ago. The admin plane: `admin_app`
puts together `loopback`, `dashboard`, `api` and `metrics`. For both, `port` accepts each
`connection`, `connections` says which may stay, `incoming` reads a request.
"""
