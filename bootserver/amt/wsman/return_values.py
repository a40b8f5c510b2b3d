"""What AMT's return values mean, as texts and as errors."""

from __future__ import annotations

from bootserver.amt.errors import AmtConsentRequiredError, AmtRefusedError

JOB_STARTED = 4096
_BOOT_METHODS = {"ChangeBootOrder", "SetBootConfigRole"}
_LOG_METHODS = {"PositionToFirstRecord", "GetRecords"}
_CONSENT_METHODS = {"StartOptIn", "SendOptInCode", "CancelOptIn"}
JOB_METHODS = {
    "RequestPowerStateChange",
    "RequestStateChange",
    "RequestOSPowerSavingStateChange",
}

_BOOT_VALUES = {
    1: "not supported",
    2: "unknown error",
    3: "busy",
    4: "invalid reference",
    5: "invalid parameter",
    6: "access denied",
}
_STATE_VALUES = {
    1: "not supported",
    2: "unknown error",
    3: "timed out",
    4: "failed",
    5: "invalid parameter",
    6: "in use",
    4097: "invalid state transition",
    4099: "busy",
}
_CONSENT_VALUES = {
    1: "internal error",
    2: "invalid state",
    3: "blocked",
    4: "the screen could not show the code",
}
_LOG_VALUES = {
    1: "not supported",
    2: "there is no such record",
    3: "there is no record",
}
CONSENT_REQUIRED = 0x821
DUPLICATE = 0x80A
# PT_STATUS, which methods of AMT's own classes return, and sometimes the others.
_AMT_VALUES = {
    0x10: "not permitted",
    0x17: "there is no space for more",
    0x24: "invalid parameter",
    0x26: "AMT's memory was written to too often; it takes more in a while",
    0x802: "unsupported boot option",
    DUPLICATE: "it is there already",
    0x80B: "the event log is frozen",
    0x80F: "invalid certificate",
    0x812: "not supported",
    0x814: "not found",
    CONSENT_REQUIRED: "the user has to consent",
    0x822: "another operation is going on",
}


def describe_return_value(method: str, return_value: int) -> str:
    """What a method's ReturnValue means, in a few words."""
    if method in _BOOT_METHODS:
        meanings = _BOOT_VALUES
    elif method in JOB_METHODS:
        meanings = _STATE_VALUES
    elif method in _CONSENT_METHODS:
        meanings = _CONSENT_VALUES
    elif method in _LOG_METHODS:
        meanings = _LOG_VALUES
    else:
        meanings = {}
    return meanings.get(return_value) or _AMT_VALUES.get(return_value) or "for a reason unknown"


def refusal(method: str, return_value: int) -> AmtRefusedError:
    """The error for a method that did not return success."""
    meaning = describe_return_value(method, return_value)
    message = f"AMT refused {method}: {meaning} (ReturnValue {return_value})"
    if return_value == CONSENT_REQUIRED:
        return AmtConsentRequiredError(
            message, return_value=return_value, hint="ask for the code on the machine's screen"
        )
    hint = ""
    if method in _BOOT_METHODS and return_value == 6:
        hint = "in client control mode that means: the user has to consent first"
    elif method == "SetBootConfigRole" and return_value == 5:
        hint = "an earlier redirected boot is still pending; boot the machine once, then try again"
    return AmtRefusedError(message, return_value=return_value, hint=hint)
