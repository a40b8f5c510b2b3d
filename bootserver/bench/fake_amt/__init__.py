"""A fake Intel AMT device: the firmware's side of WS-MAN and redirection, before a QEMU machine.

It shares no code with our console (bootserver.amt); import-linter checks that. The two are written
from the facts apart, so that they can judge each other. It is strict where firmware is known to be,
and where nothing is known. So a console passes here by no luck.
"""

from bootserver.bench.fake_amt.boot import BootFrom, ConfiguredBoot, RecoveryRequest
from bootserver.bench.fake_amt.device import FakeAmtDevice, fake_amt
from bootserver.bench.fake_amt.ider import ConsoleDrive, DriveAnswer
from bootserver.bench.fake_amt.ider_session import HostResetError, NoDriveError
from bootserver.bench.fake_amt.spec import (
    FakeSpec,
    Network,
    OptInRequired,
    ProvisioningMode,
    Reach,
    RedirectionManners,
    RedirectionSetting,
    Segments,
    SystemState,
    TlsSuites,
    WsmanManners,
)

__all__ = [
    "BootFrom",
    "ConfiguredBoot",
    "ConsoleDrive",
    "DriveAnswer",
    "FakeAmtDevice",
    "FakeSpec",
    "HostResetError",
    "Network",
    "NoDriveError",
    "OptInRequired",
    "ProvisioningMode",
    "Reach",
    "RecoveryRequest",
    "RedirectionManners",
    "RedirectionSetting",
    "Segments",
    "SystemState",
    "TlsSuites",
    "WsmanManners",
    "fake_amt",
]
