"""Read AMT's event log, where a machine's firmware and One-Click Recovery say what happened."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from bootserver.amt.control.event_records import AmtEvent, decode_record
from bootserver.amt.control.reading import flag
from bootserver.amt.errors import AmtAnswerError, AmtRefusedError
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.values import Instance

PAGE_RECORDS = 390  # AMT's whole log, in all versions known
MAX_PAGES = 20
_EMPTY = {"PositionToFirstRecord": 2, "GetRecords": 3}
_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)


async def read_event_log(client: WsmanClient) -> list[AmtEvent]:
    """All events, the newest first; those without a time come last."""
    events: list[AmtEvent] = []
    page = await _step(client, "PositionToFirstRecord", {})
    for _ in range(MAX_PAGES):
        if page is None:
            break
        page = await _step(
            client,
            "GetRecords",
            {
                "IterationIdentifier": page.number("IterationIdentifier"),
                "MaxReadRecords": PAGE_RECORDS,
            },
        )
        records = _records(page)
        events.extend(decode_record(record) for record in records)
        if not records or flag(page, "NoMoreRecords"):
            break
    return sorted(events, key=lambda event: event.at or _BEGINNING_OF_TIME, reverse=True)


async def _step(client: WsmanClient, method: str, parameters: dict[str, int]) -> Instance | None:
    """What the method put out; None, when it says that there is no record."""
    try:
        return await client.invoke("AMT_MessageLog", method, parameters)
    except AmtRefusedError as err:
        if err.return_value == _EMPTY[method]:
            return None
        raise


def _records(page: Instance | None) -> list[bytes]:
    value = page.properties.get("RecordArray") if page is not None else None
    texts = value if isinstance(value, tuple) else (value,)
    try:
        return [base64.b64decode(text) for text in texts if isinstance(text, str) and text]
    except ValueError as err:
        raise AmtAnswerError("a record of AMT's event log is not base64") from err
