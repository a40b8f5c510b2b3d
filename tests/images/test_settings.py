"""Changing what a side-car says: the rest of the file stays as it was written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bootserver.errors import ImageError
from bootserver.images.settings import change_settings, settings_of

NOTHING = dict.fromkeys(("title", "memdisk", "arguments", "recipe", "entry"), "")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "rescue.iso"
    path.write_bytes(b"")
    (tmp_path / "hook.sh").write_text("")
    return path


def change(image: Path, **values: str) -> str:
    """The side-car after the change, which was made."""
    assert change_settings(image, NOTHING | values, settings_of(image)[1])
    return image.with_suffix(".toml").read_text()


def test_an_image_without_a_side_car_says_nothing_and_gets_one(image: Path):
    assert settings_of(image)[0] == NOTHING

    text = change(image, title="Rescue", arguments="quiet")

    assert tomllib.loads(text) == {"title": "Rescue", "arguments": "quiet"}
    assert settings_of(image)[0] == NOTHING | {"title": "Rescue", "arguments": "quiet"}


def test_comments_order_and_tables_stay(image: Path):
    image.with_suffix(".toml").write_text(
        '# bought in 2010\nmemdisk = "iso"  # or else it hangs\ntitle = "Old"\n\n'
        '# our key\n[inject]\n"/etc/hook" = "hook.sh"\ntitle = "hook.sh"\n'.replace(
            '"/etc/hook"', '"etc/hook"'
        )
    )

    text = change(image, title="New", recipe="disc")

    assert text == (
        '# bought in 2010\ntitle = "New"\nrecipe = "disc"\n\n# our key\n'
        '[inject]\n"etc/hook" = "hook.sh"\ntitle = "hook.sh"\n'
    )


@pytest.mark.parametrize(
    "before",
    [
        'title = """\nOld"""\n',
        '"title" = "Old"\n',
        'inject = { "a" = "hook.sh" }\ntitle = "Old"',
        'title = "Old"\n[replace]\n"/x" = "hook.sh"',
        "title = '''a'''\nmemdisk = 'iso'\n",
    ],
)
def test_however_it_is_written_the_file_says_the_new_and_keeps_the_rest(image: Path, before: str):
    image.with_suffix(".toml").write_text(before)
    kept = {k: v for k, v in tomllib.loads(before).items() if k in ("inject", "replace")}

    text = change(image, title='He said "no"\\', memdisk="iso raw")

    assert tomllib.loads(text) == kept | {"title": 'He said "no"\\', "memdisk": "iso raw"}


def test_who_has_seen_another_version_changes_nothing(image: Path):
    _, version = settings_of(image)
    image.with_suffix(".toml").write_text('title = "Mine"\n')

    assert not change_settings(image, NOTHING | {"title": "Yours"}, version)
    assert image.with_suffix(".toml").read_text() == 'title = "Mine"\n'


def test_a_side_car_that_cannot_be_read_is_a_sentence(image: Path):
    image.with_suffix(".toml").write_text("title = ")

    with pytest.raises(ImageError, match=r"rescue\.toml is not valid TOML"):
        settings_of(image)


def test_nothing_half_written_lies_about(image: Path):
    change(image, title="Rescue")

    names = sorted(path.name for path in image.parent.iterdir())
    assert names == ["hook.sh", "rescue.iso", "rescue.toml"]
