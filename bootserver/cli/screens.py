"""What shows something that goes on: nothing, lines, or bars in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from bootserver.cli.shared import echo

if TYPE_CHECKING:
    from rich.progress import Progress, TextColumn

Shown = TypeVar("Shown")


class Screen(Generic[Shown]):
    """Shows nothing; entered while it is used."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, shown: Shown) -> None:
        """It has moved on, or not."""

    def say(self, sentence: str) -> None:
        """Something happened to the watching itself."""
        echo(sentence, err=True)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nothing moves while the block lasts: a person is asked something."""
        yield


class Bars(Screen[Shown]):
    """A bar for each key; `show` sets them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, sentence: str) -> None:
        """Stands above the bars."""
        self._progress.console.print(sentence)

    @contextmanager
    def still(self) -> Iterator[None]:
        """The bars stand, and come again below."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def set_bar(self, key: str, done_bytes: int, total_bytes: int, fields: dict[str, Any]) -> None:
        """Make or move a bar; `fields` are its columns' texts, and 0 bytes in all are unknown."""
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task("", total=None, **fields)
        self._progress.update(
            self._tasks[key], completed=done_bytes, total=total_bytes or None, **fields
        )

    def remove_bar(self, key: str) -> None:
        """Take a bar away."""
        self._progress.remove_task(self._tasks.pop(key))


def field_column(field: str, max_width: int | None = None) -> TextColumn:
    """A column of bars that shows a field of theirs."""
    from rich.progress import TextColumn
    from rich.table import Column

    column = Column(no_wrap=True, overflow="ellipsis", max_width=max_width)
    return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=column)
