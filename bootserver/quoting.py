r"""Text from outside, written so that its reader takes it for text: one function per language.

Where a library has the function, the library's own is used. HTML has jinja2's autoescape, XML
`xml.sax.saxutils.escape`, URLs `urllib.parse.quote`, TOML `tomli_w`. JSON has `json`, whose texts
are ASCII, and labels prometheus_client.

How iPXE reads a script (seen in QEMU with 1.21.1):

1. A `\` at the end of a line joins it to the next one. A line that begins with `:` is a label.
2. The line is split at blanks; there are no quotes.
3. The words `||`, `&&` and `;` end a command. A word that begins with `#` ends the line.
4. `${NAME}` is expanded in each word by itself, and in what comes of it, until none is left. So
   what a setting holds is neither split nor does it end a command.
5. A command takes words that begin with `-` for options, up to the first that does not or `--`.

A setting without a name is always empty. So `${}` before a word takes its meaning by 3 from it, and
leaves it as it is by 4. Text is not safe from 5: a script puts `--` or a word of its own before it.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from urllib.parse import quote

from anyascii import anyascii

IPXE_NOTHING = "${}"


def ipxe_arguments(text: str) -> str:
    """Words of an iPXE script by which a command gets `text` exactly, blanks included.

    Raises ValueError for what no command can be given: `${...}` in one word, and characters other
    than printable ASCII.
    """
    if not re.fullmatch(r"[\x20-\x7e]*", text):
        raise ValueError(f"{text!r} has characters other than printable ASCII, in one line")
    if re.search(r"\$\{[^ ]*\}", text):
        raise ValueError(f"{text!r} has ${{...}}, in place of which iPXE puts a setting of its own")
    return " ".join(map(_ipxe_word, text.split(" "))) if text else ""


def ipxe_text(text: str) -> str:
    """Words of an iPXE script that show `text` on its screen, as far as that can show it."""
    return ipxe_arguments(ascii_text(text).replace("${", "$ {"))


def _ipxe_word(word: str) -> str:
    if word in ("", "||", "&&", ";") or word.startswith("#"):
        word = IPXE_NOTHING + word
    return word + IPXE_NOTHING if word.endswith("\\") else word


def ascii_text(text: str) -> str:
    """The text in one line of printable ASCII: iPXE's screen has no other characters.

    Letters of other scripts are transliterated, what has no letters is left out.
    """
    return " ".join(re.sub(r"[^\x21-\x7e]+", " ", anyascii(text)).split())


def printable(text: str) -> str:
    r"""The text in one line for a terminal or a log, with `\x1b` for an escape character.

    Characters that are not printable, and those that turn the direction of writing, are written as
    Python writes them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def url_host(host: str) -> str:
    """The host as a URL has it: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host


def shell_command(command: str, *words: str) -> str:
    """The command for a person to paste: `words` are arguments of it, never options."""
    options_end = ["--"] if any(word.startswith("-") for word in words) else []
    return " ".join([command, *options_end, *map(shlex.quote, words)])


def batch_word(text: str) -> str:
    r"""A word of a batch file by which a program gets `text` exactly, for Windows' cmd.exe.

    In quotes only `%` means something, once doubled it does not; and a program takes `\"` for a
    quote. Raises ValueError for a quote, and for other than printable ASCII. The code page in which
    a batch file is read depends on the Windows.
    """
    if not re.fullmatch(r"[\x20\x21\x23-\x7e]*", text):
        raise ValueError(f"{text!r} has a quote, or characters other than printable ASCII")
    backslashes = len(text) - len(text.rstrip("\\"))
    return f'"{text.replace("%", "%%")}{backslashes * chr(92)}"'


def spreadsheet_cell(value: object) -> object:
    """A value for a CSV file: `'` before a text that a spreadsheet would take for a formula.

    (OWASP, CSV injection; its full-width signs are what NFKC makes the plain ones of.)
    """
    if isinstance(value, str) and value and unicodedata.normalize("NFKC", value[0]) in "=+-@\t\r\n":
        return f"'{value}"
    return value


def attachment(name: str) -> str:
    """A Content-Disposition with the file name in ASCII, and as it is (RFC 6266 §4.3, RFC 8187).

    The one in ASCII has nothing that clients are known to stumble over, such as `%` and `;`.
    """
    name = name.replace("/", "_")
    plain = re.sub(r"[^A-Za-z0-9 ._+-]", "_", name)
    exact = quote(name, safe="", errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"
