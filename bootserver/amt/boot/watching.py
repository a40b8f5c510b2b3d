"""Whether there is hope for a watched boot. Pure: signs go in, a verdict comes out."""

from __future__ import annotations

from dataclasses import dataclass

from bootserver.amt.boot.progress import BootFailedError, NoCallError, NoReadsError
from bootserver.model import BootPhase, BootSession
from bootserver.sessions.tracker import BAD_ENDS, is_before

# A machine that has read its stub calls within seconds. Firmware, memory training and DHCP on
# several cards can take minutes. After so long without any sign of life the boot has failed.
SILENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class BootSigns:
    """The signs of a boot at one moment."""

    session: BootSession
    reads: int  # of the redirected drive, since power-on
    resets: int  # of the machine, as redirection tells them
    since_power_s: float
    silent_s: float  # since the last read, reset, phase or byte
    redirected: bool = True  # False: no drive, One-Click Recovery


def has_handed_over(signs: BootSigns) -> bool:
    """True once the image runs and the machine needs us no more.

    Raises NoReadsError, NoCallError or BootFailedError by way of `judge`.
    """
    return (
        not is_before(signs.session, BootPhase.HANDED_OFF) and signs.session.phase not in BAD_ENDS
    )


def judge(signs: BootSigns, no_reads_s: float, *, enforces_secure_boot: bool) -> None:
    """Nothing while there is hope; the error that ends the watching when there is none."""
    session = signs.session
    if session.phase in BAD_ENDS:
        raise BootFailedError(
            f"the boot failed: {session.error or session.phase}",
            hint=f"bootserver boots show {session.id} tells how far it came",
        )
    called = not is_before(session, BootPhase.STUB_STARTED)
    if signs.redirected and not signs.reads and not called:
        if signs.since_power_s >= no_reads_s:
            raise _no_reads(signs, no_reads_s, enforces_secure_boot=enforces_secure_boot)
    elif signs.silent_s >= SILENCE_S:
        if called:
            raise BootFailedError(
                f"the machine has shown no sign of life for {signs.silent_s:.0f} s: "
                f"{session.stalled or session.error or f'it stands at {session.phase}'}",
                hint="look at its screen: bootserver amt kvm, or bootserver amt console",
            )
        raise _no_call(signs, enforces_secure_boot=enforces_secure_boot)


def what_goes_on(signs: BootSigns) -> str:
    """What happens now, as a sentence."""
    session = signs.session
    trouble = session.stalled or session.error
    if trouble:
        return trouble
    match session.phase:
        case BootPhase.STUB_STARTED | BootPhase.SCRIPT_SERVED:
            return "the stub runs and has its script"
        case BootPhase.FETCHING | BootPhase.FETCHED:
            return "the image comes over HTTP"
    if not signs.redirected:
        return "the firmware fetches the stub by HTTPS"
    if signs.reads:
        return "the firmware reads the stub"
    return "the machine starts" if signs.resets or signs.since_power_s < 10 else "no reads yet"


def _no_reads(signs: BootSigns, no_reads_s: float, *, enforces_secure_boot: bool) -> NoReadsError:
    after = f"within {no_reads_s:.0f} s"
    if enforces_secure_boot:
        return NoReadsError(
            f"the machine has read nothing of the redirected CD {after}: Secure Boot is enforced",
            hint="sign the loaders ([stub.signing], docs/secure-boot.md), or let AMT switch Secure "
            "Boot off (admin control mode, if the BIOS allows it)",
        )
    if not signs.resets:
        return NoReadsError(
            f"the machine has read nothing of the redirected CD {after}, and AMT tells of no reset",
            hint="does it show its setup screen? look at it (bootserver amt kvm), then boot again",
        )
    return NoReadsError(
        f"the machine was started, but has read nothing of the redirected CD {after}",
        hint="Secure Boot refuses unsigned loaders (docs/secure-boot.md); or USB boot or AMT's "
        "boot options are off in the BIOS's setup",
    )


def _no_call(signs: BootSigns, *, enforces_secure_boot: bool) -> NoCallError:
    if not signs.redirected and enforces_secure_boot:
        return NoCallError(
            f"the stub has not called for {signs.silent_s:.0f} s after One-Click Recovery: "
            "Secure Boot is enforced",
            hint="sign the loaders ([stub.signing], docs/secure-boot.md), or boot by "
            "--method two-stage",
        )
    if not signs.redirected:
        return NoCallError(
            f"the stub has not called for {signs.silent_s:.0f} s after One-Click Recovery",
            hint="bootserver amt events HOST tells how far the firmware came; HTTPS boot may be "
            "off in its setup",
        )
    return NoCallError(
        f"the machine has read {signs.reads} times of the redirected CD, but its stub has not "
        f"called for {signs.silent_s:.0f} s",
        hint="it has no cable, no DHCP answer, or no way to this server: the stub says so on its "
        "screen",
    )
