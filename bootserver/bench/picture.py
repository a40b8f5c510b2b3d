"""A benchmark's picture: a bar for each case, stacked of its phases' medians, as SVG. Pure.

Text stays text. Colours follow the viewer's light or dark mode. Each part of a bar says what it is
when it is pointed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bootserver.bench.cases import BootWay
from bootserver.bench.results import UP, Report, Spread, Summary, summarize
from bootserver.model import BootPhase

WIDTH = 1000
_LABELS = 330  # where bars begin
_VALUES = 130  # what the total in numbers needs, behind the longest bar
_ROW = 26
_BAR = 16
_LEGEND_COLUMN = 330
_LEGEND_COLUMNS = WIDTH // _LEGEND_COLUMN
_MARGIN = 16

# Okabe and Ito's colours, told apart with any colour vision, and what the time goes into.
_DIRECT = "direct"
_LOOKS: dict[str, tuple[str, str]] = {
    _DIRECT: ("#d55e00", "a direct boot, all of it"),
    BootPhase.STUB_STARTED: ("#e69f00", "firmware, the stub, its network"),
    BootPhase.SCRIPT_SERVED: ("#999999", "the script"),
    BootPhase.FETCHING: ("#cc79a7", "up to the first request for a file"),
    BootPhase.FETCHED: ("#009e73", "fetching"),
    BootPhase.HANDED_OFF: ("#f0e442", "handing over"),
    BootPhase.ROOT_FETCHED: ("#8c6d31", "the system, until it has its root"),
    BootPhase.OS_UP: ("#56b4e9", "the system, until it calls"),
    UP: ("#0072b2", "the system, until its marker is seen"),
}

_STYLE = """\
svg { background: #ffffff; font: 13px system-ui, sans-serif; }
text { fill: #1b1b1b; }
.small { font-size: 11px; fill: #555555; }
.line { stroke: #1b1b1b; }
.grid { stroke: #dddddd; }
@media (prefers-color-scheme: dark) {
  svg { background: #16181c; }
  text { fill: #eeeeee; }
  .small { fill: #b5b5b5; }
  .line { stroke: #eeeeee; }
  .grid { stroke: #383c44; }
}
"""


def draw(report: Report) -> str:
    """The picture of the cases that came to their end at least once."""
    all_summaries = summarize(report)
    shown = [summary for summary in all_summaries if summary.spreads]
    drawn = {part for summary in shown for part in _parts(summary)}
    legend = [part for part in _LOOKS if part in drawn]
    legend_rows = -(-len(legend) // _LEGEND_COLUMNS)
    top = 58 + legend_rows * 20
    bottom = top + len(shown) * _ROW
    longest_s = max((summary.spreads["total"].max for summary in shown), default=1.0)
    scale = (WIDTH - _LABELS - _VALUES) / longest_s
    title = "Boot times, phase by phase"
    environment = report.environment
    subtitle = (
        "Medians; the thin line goes from the quickest run to the slowest. "
        f"{environment.cpu}, QEMU {environment.qemu.split()[0]} ({environment.accelerator})"
    )
    totals = "; ".join(f"{s.case.name}: {_seconds(s.spreads['total'])}" for s in shown)
    parts = [
        f"<title>{title}</title>",
        f"<desc>{escape(totals)}</desc>",
        f"<style>{_STYLE}</style>",
        f'<text x="{_MARGIN}" y="26" font-size="17">{title}</text>',
        _text(_MARGIN, 44, subtitle, "small"),
        *_legend(legend),
        *_grid(longest_s, scale, top, bottom),
    ]
    for number, summary in enumerate(shown):
        parts += _row(summary, top + number * _ROW, scale)
    failed = sum(len(summary.errors) for summary in all_summaries)
    height = bottom + 30
    if failed:
        note = f"{failed} run{'s' if failed > 1 else ''} failed; results.json says why"
        parts.append(_text(_MARGIN, height, note, "small"))
        height += 16
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}">\n{body}\n</svg>\n'
    )


def _row(summary: Summary, top: int, scale: float) -> Iterator[str]:
    total = summary.spreads["total"]
    yield _text(_LABELS - 8, top + 13, summary.case.name, anchor="end")
    x = float(_LABELS)
    for part, spread in _parts(summary).items():
        colour, label = _LOOKS[part]
        width = spread.median * scale
        yield (
            f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}">'
            f"<title>{escape(label)}: {_seconds(spread)}</title></rect>"
        )
        x += width
    # From the quickest run to the slowest.
    low, high, middle = _LABELS + total.min * scale, _LABELS + total.max * scale, top + _BAR // 2
    yield f'<path class="line" fill="none" d="M{low:.1f} {middle}H{high:.1f}"/>'
    runs = f", n={summary.runs}"
    yield _text(max(x, high) + 8, top + 13, f"{total.median:.1f} s{runs}")


def _parts(summary: Summary) -> dict[str, Spread]:
    """What the case's bar is made of; the phases of a direct boot cannot be seen."""
    if summary.case.way is BootWay.DIRECT:
        return {_DIRECT: summary.spreads["total"]}
    return summary.phases()


def _legend(parts: Sequence[str]) -> Iterator[str]:
    for number, part in enumerate(parts):
        row, column = divmod(number, _LEGEND_COLUMNS)
        x, y = _MARGIN + column * _LEGEND_COLUMN, 56 + row * 20
        colour, label = _LOOKS[part]
        yield f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 18, y + 11, label)


def _grid(longest_s: float, scale: float, top: int, bottom: int) -> Iterator[str]:
    step = _step(longest_s)
    for count in range(int(longest_s // step) + 1):
        x = _LABELS + count * step * scale
        yield f'<path class="grid" d="M{x:.1f} {top - 4}V{bottom}"/>'
        yield _text(x, bottom + 14, f"{count * step:g} s", "small", anchor="middle")


def _step(longest_s: float) -> float:
    """A round number of seconds that divides the axis into at most six."""
    steps = (factor * power for power in (0.1, 1, 10, 100, 1000) for factor in (1, 2, 5))
    return next((step for step in steps if longest_s / step <= 6), 10_000)


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "") -> str:
    more = (f' class="{style}"' if style else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y}"{more}>{escape(text)}</text>'


def _seconds(spread: Spread) -> str:
    return f"{spread.median:.2f} s ({spread.min:.2f} to {spread.max:.2f})"
