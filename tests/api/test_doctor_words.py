"""What is said of a patch, and where nothing is proposed."""

from pathlib import Path

from gptfl.api.doctor_words import score_of, shown, too_little, verdict_of
from gptfl.scores.comparison import ScoreRow, Value


def test_too_little_trust_is_said() -> None:
    assert too_little((0.5, 0.2, 0.7), (0.6, 0.1, 0.8), 8) is None
    for skill, lds, words in (
        ((0.1, -0.1, 0.3), (0.6, 0.1, 0.8), "(skill 0.10 [-0.10, 0.30])"),
        ((0.5, 0.2, 0.7), (0.2, -0.2, 0.5), "(LDS 0.20 [-0.20, 0.50])"),
        ((0.5, 0.2, 0.7), None, "(LDS can't be told)"),
        (None, None, "(skill and LDS)"),
    ):
        said = too_little(skill, lds, 8)
        assert said is not None
        assert said.startswith("Nothing is proposed: 8 runs don't show")
        assert words in said


def test_the_verdict_says_what_pairs_show() -> None:
    paired = {"change": -0.05, "predicted_change": -0.07, "interval": [-0.08, -0.02], "pairs": 3, "verdict": "better"}
    folder = Path("there")
    said = verdict_of("loss", 11, paired, 0.1, folder)
    assert said == (
        "Leave out the 11 rows of the patch: loss changed by -0.05 [-0.08, -0.02] against leaving out as many random ones, in "
        "3 pairs of trainings (predicted -0.07), which is clear of noise (there). "
        "Some of them may be right: read them before dropping them."
    )
    assert verdict_of("loss", 11, {**paired, "verdict": "worse"}, 0.1, folder).startswith("Don't leave out the 11 rows")
    assert verdict_of("loss", 1, {**paired, "verdict": "not clear"}, 0.1, folder).startswith(
        "Read the 1 row of the patch"
    )
    assert verdict_of("loss", 1, paired, 0.1, folder).endswith(" It may be right: read it before dropping it.")
    assert "may be right" not in verdict_of("loss", 11, {**paired, "verdict": "worse"}, 0.1, folder)
    assert verdict_of("loss", 0, None, 0.1, None).startswith(
        "Nothing is proposed: no row is clearly worse than the average row"
    )
    assert verdict_of("loss", 3, None, 0.1, folder).startswith("Not verified")


def test_a_score_without_a_known_interval_is_none() -> None:
    def row(**scores: Value) -> ScoreRow:
        return ScoreRow("exposure-gp", scores=scores)

    known = row(skill=Value(0.5, interval=(0.25, 0.75)))
    assert score_of(known, "skill") == (0.5, 0.25, 0.75)
    assert score_of(known, "lds") is None
    assert score_of(row(skill=Value(0.5)), "skill") is None
    assert score_of(row(skill=Value(0.5, interval=(float("nan"), 0.75))), "skill") is None
    assert shown((0.5, -0.25, 0.756)) == "0.50 [-0.25, 0.76]"
    assert shown(None) == "not known"
