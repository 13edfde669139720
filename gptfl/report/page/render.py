"""Puts a page together: the template, the style, the scripts and the data, in one file that fetches nothing."""

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from gptfl.core.linear_form import LinearForm
from gptfl.core.texts import json_text
from gptfl.core.versions import installed_version
from gptfl.report.page.content import PageParts, RemoteForm, script_data
from gptfl.report.page.tables import calibration_of, tables_of
from gptfl.store.outputs import written_whole

SCRIPTS = (
    "dom.js",
    "form.js",
    "source.js",
    "charts.js",
    "explorer.js",
    "matrix.js",
    "suspects.js",
    "trust.js",
    "main.js",
)


def asset(name: str) -> str:
    """The text of a file that pages are made of."""
    return resources.files("gptfl.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def html_of(parts: PageParts) -> str:
    """The page, whole. Texts of the recording stand in it escaped, and no script but the page's own may run."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    own = "\n".join(asset(name) for name in SCRIPTS)
    scripts = [asset("uPlot.iife.min.js"), f'"use strict";\n(() => {{\n{own}}})();']
    style = asset("uPlot.min.css") + asset("page.css")
    # In a script element only "<" could end it or begin a comment.
    data = json_text(script_data(parts)).replace("<", "\\u003c")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        asset("page.html.j2")
    )
    return template.render(
        **_shown(parts),
        scripts=[Markup(one) for one in scripts],
        script_hashes=Markup(" ".join(map(_hash, scripts))),
        connect=Markup("connect-src 'self'; " if parts.is_remote else ""),
        style=Markup(style),
        style_hashes=Markup(_hash(style)),
        data=Markup(data),
        plot_licence=asset("uPlot.LICENSE"),
        version=installed_version("gptfl"),
    )


def _hash(text: str) -> str:
    """What the content security policy knows a script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shown(parts: PageParts) -> dict[str, Any]:
    """What the template reads."""
    comparison, estimator = parts.comparison, parts.estimator or ""
    counted = ((len(parts.pool), "training examples"), (len(parts.tests), "test examples"))
    noun = "".join(f"{count} {name}, " for count, name in counted if count)
    by = f", by {estimator}" if estimator else ""
    return {
        "recording": {
            "name": parts.name,
            "summary": f"{noun}{parts.metric.name} ({'higher' if parts.metric.higher_is_better else 'lower'} is better){by}",
            "facts": list(parts.facts.items()),
        },
        "tabs": list(parts.tabs.items()),
        "tab_names": list(parts.tabs),
        "first_tab": next(iter(parts.tabs)),
        "command": parts.command,
        "is_remote": parts.is_remote,
        "trust_title": parts.trust_title,
        "pairs": list(parts.pairs),
        "pictures": list(parts.pictures),
        "runs_title": parts.runs_title,
        "commands": {"simulate": "", **(parts.commands or {})},
        "has_form": parts.form is not None,
        "form_note": parts.form_note,
        "form_words": _form_words(parts),
        "has_influence": parts.ranking is not None,
        "influence_words": "" if parts.ranking is None else parts.ranking.meaning,
        "has_matrix": parts.matrix is not None,
        "matrix_words": _matrix_words(parts),
        "has_suspects": bool(parts.suspects),
        "suspects_words": _suspects_words(parts),
        "verdict": parts.trust,
        "tables": [*([] if comparison is None else tables_of(comparison, estimator)), *parts.tables],
        "calibration": None if comparison is None else calibration_of(comparison, estimator),
        "has_held_out": parts.held_out is not None,
        "verifications": list(parts.verifications),
        "missing": [{"what": what, "command": command} for what, command in parts.missing],
        "notes": list(parts.notes),
    }


def _form_words(parts: PageParts) -> str:
    if isinstance(parts.form, LinearForm):
        return "Numbers are those of gptfl simulate --every-order. Intervals of the change are of what the examples do."
    if isinstance(parts.form, RemoteForm):
        return f"Every answer is the simulator's own, as gptfl simulate has it. {parts.form_note}".strip()
    return parts.form_note if parts.form is not None else ""


def _matrix_words(parts: PageParts) -> str:
    if parts.matrix is None:
        return parts.matrix_note
    some = (
        ""
        if len(parts.matrix.rows) == len(parts.pool)
        else f" Shown are the {len(parts.matrix.rows)} rows that move most."
    )
    return (
        f"Rows are training examples, columns test examples, like beside like. A cell is the effect of {parts.matrix.what}: "
        f"positive makes the {parts.metric.name} better.{some}"
    )


def _suspects_words(parts: PageParts) -> str:
    if not parts.suspects:
        return "No sign of suspect rows is known here."
    return (
        f"The rows that stand out most by {len(parts.signs or {})} signs: the order of gptfl rank --for cleaning. A sign is a "
        "reason to read, not a proof: hard rows stand out as well as wrong ones."
    )


def write_page(parts: PageParts, path: Path) -> None:
    """Write the page whole. Raises ``ResourceError`` where it can't be written."""
    text = html_of(parts)
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")
