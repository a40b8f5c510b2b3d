"""VMware ESXi's boot.cfg for a boot over HTTP: the same files, found below a URL."""

from __future__ import annotations


def rewrite_boot_cfg(text: str, tree_url: str) -> str:
    """boot.cfg whose kernel and modules lie below `tree_url`; all other lines stay as they are.

    mboot puts `prefix` and a slash before every path that begins with neither `/` nor `http`.
    """
    prefix = f"prefix={tree_url.rstrip('/')}"
    lines = []
    for line in text.splitlines():
        key, _, value = line.partition("=")
        key = key.strip().lower()
        if key == "kernel":
            lines += [prefix, f"kernel={_relative(value)}"]
        elif key == "modules":
            lines.append("modules=" + " --- ".join(map(_relative, value.split("---"))))
        elif key == "kernelopt":
            # With cdromBoot the installer looks for its packages on a CD alone.
            options = [word for word in value.split() if word.lower() != "cdromboot"]
            lines.append(f"kernelopt={' '.join(options)}")
        elif key != "prefix":
            lines.append(line)
    return "\n".join(lines) + "\n"


def _relative(path: str) -> str:
    return path.strip().lstrip("/")
