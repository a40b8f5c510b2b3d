r"""The language of Windows' INF files: sections, lines, quotes, continuations and %strings%.

General Syntax Rules for INF Files (Microsoft), and as setup reads what they leave open:

1. A section goes on wherever its name comes again. Case counts in no name.
2. `;` begins a comment, outside of quotes. A `\` at the end of a line, also before a comment, joins
   the next line to it.
3. What stands before the first `=` is the key, unless a comma comes earlier: then there is none.
4. Quotes keep blanks, commas and the like, and `""` in them is one; the line's end closes them.
5. `%NAME%` stands for a text of [Strings], in quotes as well, and `%%` for `%`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bootserver.errors import BootServerError

# A network driver's INF has some 100 kB; the largest of other classes, with a line for each of
# thousands of devices, have 2 MB.
LIMIT_BYTES = 8_000_000
LIMIT_TOKENS = 600_000  # words, commas and the like; those largest ones have half of that
LIMIT_EXPANDED = 16_000_000  # characters that all %strings% of one INF file may come to
FIELD_LIMIT = 4096  # characters: more of a field Windows does not take

_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_LINE_END = re.compile(r"\r\n|\r|\n")
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*(?:""[^"]*)*)"?'
    r"|(?P<mark>[,=])"
    r"|\\(?P<join>\s*(?:;.*)?)$"
    r"|(?P<comment>;)"
    r'|(?P<plain>[^"\\;,=]+|\\)'
)
_STRING = re.compile(r"%([^%]*)%")
_ENGLISH = "strings.0409"


class InfError(BootServerError):
    """What should be an INF file is none, or more than one can be."""


@dataclass(frozen=True, slots=True)
class InfLine:
    """A line of a section, with no %strings% in it any more."""

    name: str  # what stands before `=`; "" where there is none
    values: tuple[str, ...]

    @property
    def key(self) -> str:
        """The name as it is compared: in lower case."""
        return self.name.lower()

    @property
    def value(self) -> str:
        """The first value; "" where there is none."""
        return self.values[0] if self.values else ""


def read_sections(data: bytes) -> dict[str, list[InfLine]]:
    """The sections of an INF file, by their names in lower case.

    Raises InfError for a file that is larger, or expands to more, than an INF file has any need of.
    """
    if len(data) > LIMIT_BYTES:
        raise InfError(
            f"it has {len(data):,} bytes, and no INF file needs more than {LIMIT_BYTES:,}",
            hint="check that it is the INF file of a driver",
        )
    sections: dict[str, list[_RawLine]] = {}
    for name, line in _lines(_decoded(data)):
        sections.setdefault(name, []).extend(line)
    strings = _Strings(sections)
    return {
        name: [
            InfLine(strings.expanded(key), tuple(map(strings.expanded, values)))
            for key, values in lines
        ]
        for name, lines in sections.items()
        if not _is_strings(name)
    }


_RawLine = tuple[str, list[str]]  # key and values
_Token = tuple[str, str]  # a group of _TOKEN, and the text


def _decoded(data: bytes) -> str:
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            text = data[len(bom) :].decode(encoding, errors="replace")
            break
    else:
        try:
            text = data.decode()
        except UnicodeDecodeError:  # some code page of Windows; ids are ASCII in all of them
            text = data.decode("cp1252", errors="replace")
    return text.partition("\x1a")[0]  # where DOS' editors end a text


def _lines(text: str) -> Iterator[tuple[str, list[_RawLine]]]:
    """Each section as it begins, without lines, and then each line with its section."""
    section = ""
    tokens: list[_Token] = []
    left = LIMIT_TOKENS
    for line in _LINE_END.split(text):
        text = line.strip()
        if not tokens and text[:1] in ("", ";"):  # millions of these are to cost little
            continue
        if not tokens and text.startswith("["):
            section = text[1:].partition("]")[0].strip().lower()
            yield section, []
        elif not _take(line, tokens, left):
            left -= len(tokens)
            yield section, _fields(tokens)
            tokens = []
    yield section, _fields(tokens)


def _take(line: str, tokens: list[_Token], limit: int) -> bool:
    """Adds the line's tokens; true if the next line belongs to it."""
    for found in _TOKEN.finditer(line.lstrip()):
        if len(tokens) >= limit:
            raise InfError(
                f"it has more than {LIMIT_TOKENS:,} words",
                hint="check that it is the INF file of a driver",
            )
        match kind := found.lastgroup or "":
            case "comment":
                return False
            case "quoted":
                tokens.append((kind, found[kind].replace('""', '"')))
            case "join":
                tokens.append(("plain", ""))
                return True
            case _:
                tokens.append((kind, found[0]))
    return False


def _fields(tokens: list[_Token]) -> list[_RawLine]:
    """Key and values of a whole line; none for one with nothing on it."""
    key, has_key = "", False
    fields: list[list[_Token]] = [[]]
    for token in tokens:
        if token == ("mark", ","):
            fields.append([])
        elif token == ("mark", "=") and not has_key and len(fields) == 1:
            key, has_key, fields = _joined(fields[0]), True, [[]]
        else:
            fields[-1].append(token)
    values = [_joined(field) for field in fields]
    return [(key, values)] if has_key or any(values) else []


def _joined(pieces: list[_Token]) -> str:
    """A field without the blanks around it, but with those in quotes."""
    quoted = [number for number, (kind, _) in enumerate(pieces) if kind == "quoted"]
    first, last = (quoted[0], quoted[-1] + 1) if quoted else (len(pieces), len(pieces))
    before, kept, after = (
        "".join(text for _, text in part)
        for part in (pieces[:first], pieces[first:last], pieces[last:])
    )
    text = before.lstrip() + kept + after.rstrip() if quoted else before.strip()
    return text[:FIELD_LIMIT]


def _is_strings(section: str) -> bool:
    return section == "strings" or section.startswith("strings.")


class _Strings:
    """The texts of [Strings]: English where there is a choice, else those without a language."""

    def __init__(self, sections: Mapping[str, list[_RawLine]]) -> None:
        names = sorted(filter(_is_strings, sections), key=_preference, reverse=True)
        self._texts = {
            key.lower(): values[0] if values else ""
            for name in names
            for key, values in sections[name]
        }
        self._left = LIMIT_EXPANDED

    def expanded(self, field: str) -> str:
        """The field with the texts in place of its tokens; a token without a text stays."""
        if "%" not in field:
            return field
        return _STRING.sub(self._text, field)[:FIELD_LIMIT]

    def _text(self, token: re.Match[str]) -> str:
        text = self._texts.get(token[1].lower(), token[0]) if token[1] else "%"
        self._left -= len(text)
        if self._left < 0:
            raise InfError(
                f"its %strings% come to more than {LIMIT_EXPANDED:,} characters",
                hint="check that it is the INF file of a driver",
            )
        return text


def _preference(name: str) -> int:
    """0 for what counts first: English, then no language, then any other."""
    return 0 if name == _ENGLISH else 1 if name == "strings" else 2
