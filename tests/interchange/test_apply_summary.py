"""The page of what was left out."""

import json
from pathlib import Path

import gptfl
from gptfl.interchange.apply_summary import escaped

LINES = (
    b'{"prompt": "One?",  "target": "a", "id": "r1"}\n'
    b"\n"
    b'{"target":"b","prompt":"Tw\\u00f6?","id":"r2"}\r\n'
    b'{"prompt": "Drei\xc3\x9f?", "target": "c", "id": "r3", "n": 1.50}\n'
    b"   \n"
    b'{"prompt": "Four?", "target": "d | <b>x</b>", "id": "r4"}'
)


def test_the_summary_shows_hostile_texts_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES)
    page = (gptfl.apply(path, drop=["r4"]).path / "summary.md").read_text()
    row = page.splitlines()[-1]
    assert row.count("|") == 4
    assert "<" not in page
    assert "&#60;b&#62;" in row
    assert escaped("`rm`\n| [x](y)") == "&#96;rm&#96; &#124; &#91;x&#93;(y)"
    assert (
        escaped("see https://x.y or www.x.y, @me #1: 2.5") == "see https&#58;//x.y or www&#46;x.y, &#64;me &#35;1: 2.5"
    )


def test_rows_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    system = "You answer customers of a shop for lamps. Keep to the rules of the shop, and be as brief as you can be, always."
    said = [
        ("Does the Wren dim?", "No, never."),
        ("Where is my bill?", "In your account."),
        ("Is it dry?", "Yes, quite."),
    ]
    rows = [
        {
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
        }
        for question, answer in said
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps({"id": f"c{place}", **row}) + "\n" for place, row in enumerate(rows)))
    page = (gptfl.apply(path, drop=["c0", "c1"]).path / "summary.md").read_text()
    assert "Does the Wren dim? → No, never." in page
    assert "Where is my bill? → In your account." in page
    assert system not in page
