"""boot.cfg of ESXi, rewritten so that mboot finds the kernel and the modules over HTTP."""

from __future__ import annotations

import pytest

from bootserver.images.esxi import rewrite_boot_cfg

TREE = "http://192.0.2.1:8080/b/KEY/tree/"

FROM_THE_DISC = """\
bootstate=0
title=Loading ESXi installer
timeout=5
prefix=
kernel=/b.b00
kernelopt=runweasel cdromBoot
modules=/jumpstrt.gz --- /useropts.gz --- /features.gz
build=8.0.2-0.0.22380479
updated=0
"""


def test_files_are_found_below_the_tree_and_the_rest_stays():
    assert (
        rewrite_boot_cfg(FROM_THE_DISC, TREE)
        == """\
bootstate=0
title=Loading ESXi installer
timeout=5
prefix=http://192.0.2.1:8080/b/KEY/tree
kernel=b.b00
kernelopt=runweasel
modules=jumpstrt.gz --- useropts.gz --- features.gz
build=8.0.2-0.0.22380479
updated=0
"""
    )


def test_a_file_without_a_prefix_gets_one():
    assert rewrite_boot_cfg("kernel=/tboot.b00\n", TREE) == (
        f"prefix={TREE[:-1]}\nkernel=tboot.b00\n"
    )


def test_an_old_prefix_does_not_survive():
    text = "kernel=a\nprefix=/old\n"

    assert "old" not in rewrite_boot_cfg(text, TREE)


def test_lines_that_end_as_on_windows_are_read_too():
    assert rewrite_boot_cfg("kernel=/a\r\nmodules=/b --- /c\r\n", TREE).splitlines()[1:] == [
        "kernel=a",
        "modules=b --- c",
    ]


@pytest.mark.parametrize("text", ["", "=\n", "modules\n", "---\n", "\0\n"])
def test_what_is_no_boot_cfg_is_no_error(text: str):
    assert "kernel=" not in rewrite_boot_cfg(text, TREE)
