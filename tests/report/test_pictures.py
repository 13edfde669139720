"""Pictures as files: named by their suffix, written whole, the same bytes for the same numbers."""

import warnings
from pathlib import Path

import pytest

from gptfl.errors import ResourceError, UsageError
from gptfl.report.pictures import any_script, check_picture, drawn_text, new_figure, save_figure


def figure(text: str = "größe"):
    made = new_figure(2, 1)
    axes = made.add_subplot()
    axes.plot([0, 1], [1, 0])
    axes.set_title(text)
    return made


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")])
def test_the_same_figure_is_the_same_file_of_its_kind(tmp_path: Path, suffix: str, start: bytes) -> None:
    for name in "ab":
        save_figure(figure(), tmp_path / f"{name}{suffix}")
    one, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert one.startswith(start)
    assert one == other
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("laid_out")
def test_a_picture_with_room_for_its_texts_has_the_size_asked_for(tmp_path: Path) -> None:
    save_figure(figure(), tmp_path / "a.png")
    head = (tmp_path / "a.png").read_bytes()[16:24]
    assert [int.from_bytes(head[at : at + 4]) for at in (0, 4)] == [300, 150]


def test_another_suffix_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    for name in ("a.bmp", "png", "a"):
        with pytest.raises(UsageError, match=r"has no known suffix for a picture: end it in \.png, \.svg, \.pdf"):
            save_figure(figure(), tmp_path / name)
    check_picture(tmp_path / "a.PNG")
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="can't be written"):
        save_figure(figure(), tmp_path / "file" / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_texts_of_any_script_are_drawn_without_a_word(tmp_path: Path) -> None:
    save_figure(figure("答案 คำตอบ 🦁"), tmp_path / "a.png")
    with pytest.raises(UserWarning, match="another"), any_script():
        warnings.warn("another", stacklevel=1)


def test_nothing_in_a_text_is_obeyed() -> None:
    assert drawn_text("a $x$ \x1b[31m") == r"a \$x\$ " + drawn_text("\x1b[31m")
    assert "\x1b" not in drawn_text("\x1b")


@pytest.mark.usefixtures("laid_out")
def test_a_figure_shows_itself_in_a_notebook_at_the_size_asked_for() -> None:
    made = figure("größe 答案")
    picture, size = made._repr_png_()
    assert picture.startswith(b"\x89PNG")
    assert size == {"width": 192, "height": 96}
    assert [int.from_bytes(picture[at : at + 4]) for at in (16, 20)] == [384, 192]
    # What is shown is drawn finer; the figure stays what it is.
    assert made.get_dpi() == 100
