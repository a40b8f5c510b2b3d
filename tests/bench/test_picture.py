"""The picture of a benchmark: well-formed, to scale, and legible."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from bootserver.bench.cases import BootWay
from bootserver.bench.picture import draw
from tests.bench.reports import ENVIRONMENT, case, report, run

SVG = "{http://www.w3.org/2000/svg}"
DIRECT, TWO_STAGE = case("direct"), case("two-stage", BootWay.TWO_STAGE)


def picture() -> ET.Element:
    boots = report({DIRECT: [99.0, 100.0, 101.0]})
    boots = boots.model_copy(update={"cases": (DIRECT, TWO_STAGE)})
    at = {"stub_started": 5.0, "fetched": 15.0, "up": 25.0}
    return ET.fromstring(draw(boots.with_run(run(TWO_STAGE, at=at))))


def bars(svg: ET.Element) -> dict[float, list[ET.Element]]:
    """The rectangles that say what they are, by row."""
    rows: dict[float, list[ET.Element]] = {}
    for rect in svg.iter(f"{SVG}rect"):
        if rect.find(f"{SVG}title") is not None:
            rows.setdefault(float(rect.attrib["y"]), []).append(rect)
    return rows


def test_bars_are_to_scale_and_stacked_without_gaps():
    direct, two_stage = bars(picture()).values()

    (whole,) = (float(rect.attrib["width"]) for rect in direct)
    widths = [float(rect.attrib["width"]) for rect in two_stage]
    assert widths == pytest.approx([whole * share for share in (0.05, 0.10, 0.10)], abs=0.1)
    starts = [float(rect.attrib["x"]) for rect in two_stage]
    assert starts[1:] == pytest.approx(
        [x + width for x, width in zip(starts, widths, strict=True)][:-1], abs=0.1
    )


def test_text_stays_text_and_says_case_total_and_runs():
    svg = picture()

    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"direct", "two-stage", "100.0 s, n=3", "25.0 s, n=1"} <= set(texts)
    assert any(ENVIRONMENT.cpu in (text or "") for text in texts)  # which has < and >


def test_nothing_leaves_the_picture_on_the_right():
    svg = picture()

    width = float(svg.attrib["width"])
    for rows in bars(svg).values():
        last = rows[-1]
        assert float(last.attrib["x"]) + float(last.attrib["width"]) < width - 100


def test_readers_who_see_no_bars_hear_the_figures():
    svg = picture()

    description = svg.findtext(f"{SVG}desc")
    assert svg.attrib["role"] == "img"
    assert description is not None
    assert "direct: 100.00 s (99.00 to 101.00)" in description


def test_each_phase_that_is_drawn_is_in_the_legend():
    text = ET.tostring(picture(), encoding="unicode")

    for colour in set(re.findall(r'height="16" fill="(#\w+)"', text)):
        assert f'height="12" fill="{colour}"' in text


def test_failures_and_an_empty_report_are_drawn_too():
    boots = report({DIRECT: []}).with_run(run(DIRECT, error="no UP"))

    svg = ET.fromstring(draw(boots))

    assert "1 run failed; results.json says why" in [t.text for t in svg.iter(f"{SVG}text")]
