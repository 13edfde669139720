from gptfl.report.notes import spanned


def test_notes_that_differ_in_numbers_only_become_one_with_their_range():
    notes = [f"scaled by {scale}, the best of 8 (run-0001)" for scale in ("2.3", "-3e-05", "20")]
    assert spanned(notes) == ["scaled by -3e-05 to 20, the best of 8 (run-0001)"]


def test_other_notes_stay_as_they_are_and_in_order():
    notes = ["b 1.", "a", "b 1 and a", "1"]
    assert spanned(notes) == notes
    assert spanned([]) == []
