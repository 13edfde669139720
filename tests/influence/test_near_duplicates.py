import numpy as np
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from gptfl.core import Example
from gptfl.influence.near_duplicates import ALIKE, candidates, near_duplicates


def of(*texts):
    return near_duplicates([Example(str(place), text, "") for place, text in enumerate(texts)])


def test_texts_that_differ_by_a_letter_are_found_the_most_alike_first():
    long = "How do I send back the lamp that came broken last week?"
    found = of(long, "Where is the nearest shop that sells garden chairs?", long, long.replace("week?", "week"))
    assert found[0][:2] == (0, 2)
    assert {(0, 3), (2, 3)} <= {(one, other) for one, other, _ in found}
    assert all(1 not in pair[:2] for pair in found)
    assert found[0][2] > 0.999


def test_what_has_no_text_is_like_nothing():
    assert of("", "", " ") == []
    assert of("one text alone") == []
    assert of("a", "b") == []


def test_pairs_are_those_of_all_cosines():
    random = np.random.default_rng(3)
    words = ["".join(random.choice(list("abcdefgh"), size=random.integers(2, 7))) for _ in range(60)]
    texts = [" ".join(random.choice(words, size=random.integers(1, 14))) for _ in range(150)]
    texts += [text.replace("a", "b", 1) for text in texts[:60]] + texts[:9]
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit_transform(texts)
    alike = (vectors @ vectors.T).toarray()
    expected = {
        (a, b): alike[a, b] for a, b in zip(*np.triu_indices(len(texts), 1), strict=True) if alike[a, b] >= ALIKE
    }
    found = {(a, b): cosine for a, b, cosine in of(*texts)}
    assert len(expected) > 30
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.9])
def test_no_pair_above_any_threshold_is_passed_over(threshold):
    random = np.random.default_rng(4)
    dense = random.random((80, 30)) * (random.random((80, 30)) < 0.2) + 1e-9 * np.eye(80, 30)
    dense[40:50] = dense[:10] + 0.2 * random.random((10, 30)) * (random.random((10, 30)) < 0.2)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True).clip(1e-12)
    alike = dense @ dense.T
    seen = {
        pair
        for one, other in candidates(scipy.sparse.csr_matrix(dense), threshold)
        for pair in zip(one, other, strict=True)
    }
    above = {(a, b) for a, b in zip(*np.triu_indices(80, 1), strict=True) if alike[a, b] >= threshold}
    assert above
    assert above <= seen
