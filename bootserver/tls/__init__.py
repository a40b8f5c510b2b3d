"""The certificate that the boot plane shows: the site's own, or one of our own small CA."""
