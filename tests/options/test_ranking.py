"""By which simulators rows are ranked: what rankings and studies of them share."""

from gptfl.influence.targets import HOWS
from gptfl.options.base import KEY, places
from gptfl.options.influence import InfluenceOptions
from gptfl.options.ranking import RankingOptions, how_option


def test_who_also_simulates_has_the_same_options_and_how_many_runs() -> None:
    shared = {place.name: place.flags for place in places(RankingOptions)}
    own = {place.name: place.flags for place in places(InfluenceOptions)}
    assert own == {**shared, "orders": ("--orders",)}


def test_every_way_to_tell_influence_is_offered() -> None:
    known = how_option("usually so").metadata[KEY]
    assert set(known.complete) == set(HOWS)
    assert known.shown == "usually so"
