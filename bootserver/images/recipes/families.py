"""Makes of initramfs: how each looks for its disc, and what has it fetch its root over HTTP.

The entry of a disc's own menu says which make it is and where on the disc its root lies. What only
points to a medium is dropped, and what makes the initramfs fetch the same file is added.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bootserver.images.arguments import BOOT_CARD, is_plain
from bootserver.images.recipes.paths import pick
from bootserver.model import IsoFacts, MenuEntry

NETWORK = f"ip=dhcp {BOOT_CARD}"


@dataclass(frozen=True, slots=True)
class Rest:
    """The arguments to boot with, and what the system then fetches ("" = nothing is known)."""

    arguments: tuple[str, ...]
    fetched: str = ""  # a path, or {iso} for the whole image
    times: float = 1.0
    room_mib: int = 512
    hook: str = ""  # as in Way
    seeks: str = ""  # the argument by which it still looks for its disc; "" = none


@dataclass(frozen=True, slots=True)
class Family:
    """A make of initramfs.

    `{medium}` in `added` is the path of what is fetched. `{NAME}` in `media` is the value of the
    entry's own argument NAME, else that of `defaults`.
    """

    source: str  # the project's file that says so
    signs: tuple[str, ...]  # how the arguments begin by which its entries are known
    added: str = ""
    media: tuple[str, ...] = ()  # patterns; () = the whole image
    defaults: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()  # how arguments begin that point to a medium, besides the signs
    kernel_in: str = ""  # a directory by which its kernels are known too
    times: float = 1.0  # how often what is fetched is in memory at once
    room_mib: int = 1024  # for the system
    hook: str = ""  # as in Way

    def is_of(self, entry: MenuEntry) -> bool:
        """True if the entry boots an initramfs of this make."""
        signed = any(word.startswith(self.signs) for word in entry.arguments)
        return signed or bool(self.kernel_in and self.kernel_in in entry.kernel)

    def patterns(self, entry: MenuEntry) -> list[str]:
        """Where on the disc the file may be that it fetches, as the entry says."""
        values = dict(self.defaults) | {
            name: value
            for word in entry.arguments
            if (name := word.partition("=")[0]) in self.defaults
            and (value := word.partition("=")[2].lower())
        }
        patterns = []
        for pattern in self.media:
            for name, value in values.items():
                pattern = pattern.replace(f"{{{name}}}", value)
            patterns.append(posixpath.normpath(f"/{pattern.lstrip('/')}"))
        return patterns

    def kept(self, arguments: Sequence[str], added: str) -> tuple[str, ...]:
        """Those of an entry's arguments that are not about its medium, nor set by `added`."""
        names = (f"{word.partition('=')[0]}=" for word in added.split())
        gone = (*self.signs, *self.dropped, *names)
        return tuple(word for word in _harmless(arguments) if not f"{word}=".startswith(gone))


LIVE_BOOT = Family(
    source="live-boot: components/9990-mount-http.sh, 9990-cmdline-old",
    signs=("boot=live",),
    added=f"boot=live fetch={{tree}}{{medium}} {NETWORK}",
    media=("/live/filesystem.squashfs", "/live/*.squashfs", "/live/grml*/*.squashfs"),
    dropped=(
        *("live-media=", "bootfrom=", "bootid=", "toram"),
        *("httpfs=", "netboot", "verify-checksums"),
    ),
    room_mib=176,  # tests/bench/least_memory.json
    hook="live-boot",
)
# With root=/dev/ram0 the kernel's initramfs is a ramfs, and no tmpfs that is full at half of the
# memory. 952 MiB of ISO then came up with 1,400 MiB, 254 of them free (2026-11-28, casper 1.470).
CASPER = Family(
    source="casper: scripts/casper, do_urlmount; Linux: init/do_mounts.c, init_rootfs",
    signs=("boot=casper",),
    added=f"boot=casper url={{iso}} root=/dev/ram0 {NETWORK}",
    dropped=("live-media=", "toram", "netboot=", "nfsroot=", "integrity-check", "boot="),
    kernel_in="/casper/",  # Ubuntu's own menus do not name it: their initrd does it by itself
    room_mib=512,
)
# It keeps what it fetches in a tmpfs and copies it to another before it lets go.
ARCHISO = Family(
    source="mkinitcpio-archiso: hooks/archiso, hooks/archiso_pxe_http",
    signs=("archisobasedir=", "archisolabel=", "archisodevice=", "archisosearch"),
    added=f"archisobasedir={{archisobasedir}} archiso_http_srv={{tree}} {NETWORK}",
    media=(
        "/{archisobasedir}/x86_64/airootfs.sfs",
        "/{archisobasedir}/x86_64/airootfs.erofs",
    ),
    defaults={"archisobasedir": "arch"},
    dropped=("img_", "cow_label=", "cow_device=", "cow_directory=", "copytoram"),
    times=2.0,
    room_mib=512,
)
# Manjaro, Garuda. Its root is several files beside one another, most of the disc.
MISO = Family(
    source="manjaro-tools: initcpio/hooks/miso, initcpio/hooks/miso_pxe_http",
    signs=("misobasedir=", "misolabel=", "misodevice="),
    added=f"misobasedir={{misobasedir}} miso_http_srv={{tree}} {NETWORK}",
    defaults={"misobasedir": "manjaro"},
    dropped=("img_", "cow_label=", "cow_device=", "copytoram"),
    times=2.0,
)
ARTIX = Family(
    source="artools: initcpio/hooks/artix, initcpio/hooks/artix_pxe_http",
    signs=("artixbasedir=", "artixlabel=", "artixdevice="),
    added=f"artixbasedir={{artixbasedir}} artix_http_srv={{tree}} {NETWORK}",
    defaults={"artixbasedir": "livefs"},
    dropped=("img_", "cow_label=", "cow_device=", "copytoram"),
    times=2.0,
)
# It has no root= on its line, so its initramfs is a tmpfs: full at half of the memory.
COREOS = Family(
    source="fedora-coreos-config: 35coreos-live/coreos-livepxe-rootfs.sh, live-generator",
    signs=("coreos.liveiso=",),
    added=f"coreos.live.rootfs_url={{tree}}{{medium}} rd.neednet=1 {NETWORK}",
    media=("/images/pxeboot/rootfs.img",),
    times=2.0,
    hook="dracut",
)
ANACONDA = Family(
    source="anaconda: dracut/parse-anaconda-repo.sh, dracut/fetch-kickstart-net.sh",
    signs=("inst.stage2=",),
    added=f"inst.stage2={{tree}} {NETWORK}",
    media=("/images/install.img",),
    dropped=("inst.repo=hd:", "inst.repo=cdrom", "rd.live.check"),
)
# Fedora, Gentoo, Void, Harvester, Kairos, KIWI. A root with rd.live.image is live too.
DRACUT = Family(
    source="dracut: modules.d/90livenet, modules.d/90dmsquash-live/parse-dmsquash-live.sh",
    signs=("root=live:", "root=CDLABEL=", "rd.live.image", "liveimg"),
    added=f"root=live:{{tree}}{{medium}} rd.live.image rd.neednet=1 {NETWORK}",
    media=("/{rd.live.dir}/{rd.live.squashimg}",),
    defaults={"rd.live.dir": "liveos", "rd.live.squashimg": "squashfs.img"},
    dropped=(
        *("rd.live.dir=", "rd.live.squashimg=", "rd.live.ram", "rd.live.check"),
        *("rd.live.overlay=", "rd.live.overlay.persistent", "rd.live.overlay.cowfs="),
    ),
    hook="dracut",
)
FAMILIES = (LIVE_BOOT, CASPER, ARCHISO, MISO, ARTIX, COREOS, ANACONDA, DRACUT)

# What a loader adds, or fills in if the disc is a file on another one: no make needs it.
_OF_A_LOADER = re.compile(
    r"(initrd|BOOT_IMAGE|iso-scan/filename|findiso|fromiso|isofrom\w*|img_dev|img_loop)="
)
_SEPARATORS = {"--", "---"}  # between the arguments for now and those for the installed system

# How systems find a disc, in the words of no family's rule, or that were left by it.
_SEEKS = re.compile(
    r"root=(live:|cdrom:|block:)?(CDLABEL=|LABEL=|UUID=|PARTLABEL=|PARTUUID=|/dev/(sr|cdrom|disk/))"
    r"|(inst\.)?(ks|kickstart|repo|stage2|dd|updates)=(hd:|cdrom)"
    r"|(iso-scan/filename|findiso|fromiso|isofrom\w*|img_dev|img_loop)=."
    r"|(rd\.live\.overlay|cow_label|cow_device|live-media|bootfrom|alpine_dev|pmedia|pdev1)=."
    r"|loop=/|from=/|(install|instmode)=cd|automatic=method:cdrom",
    re.IGNORECASE,
)
_PATH = re.compile(r"/[a-z0-9._+~/-]+")


def rest_over_http(entry: MenuEntry, facts: IsoFacts) -> Rest:
    """What to boot this entry with, so that its system finds its root without the disc."""
    ours = [family for family in FAMILIES if family.is_of(entry)]
    for family in ours:
        medium = pick(facts, family.patterns(entry))
        if family.media and not medium:
            continue
        kept = family.kept(entry.arguments, family.added)
        return Rest(
            (*kept, *_filled(family, entry, medium)),
            medium or "{iso}",
            family.times,
            family.room_mib,
            family.hook,
            seeks=_seeking(kept),
        )
    signs = tuple(sign for family in ours for sign in family.signs)
    seeks = next((word for word in entry.arguments if signs and word.startswith(signs)), "")
    return Rest(_harmless(entry.arguments), seeks=seeks or _seeking(entry.arguments))


def media_of(entry: MenuEntry) -> set[str]:
    """The paths at which this entry's system may find its root, for the disc's inspection.

    They are lower case, and safe in a script and a URL; what needs a `*` is in `markers`.
    """
    patterns = [p for family in FAMILIES if family.is_of(entry) for p in family.patterns(entry)]
    return {path for path in patterns if _PATH.fullmatch(path)}


def _filled(family: Family, entry: MenuEntry, medium: str) -> list[str]:
    """The words that the family adds."""
    words = family.added.replace("{medium}", medium[1:]).split()
    said = dict(word.partition("=")[::2] for word in entry.arguments if is_plain(word))
    for name, default in family.defaults.items():
        words = [word.replace(f"{{{name}}}", said.get(name) or default) for word in words]
    return words


def _harmless(arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments that say something without a boot loader and a disc, and are safe."""
    return tuple(
        word
        for word in arguments
        if word not in _SEPARATORS and not _OF_A_LOADER.match(word) and is_plain(word)
    )


def _seeking(arguments: Sequence[str]) -> str:
    """The first argument by which a system looks for its disc, "" for none."""
    return next((word for word in arguments if _SEEKS.match(word)), "")
