"""Results of a small synthetic recording, made once."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """What simulating, ranking, selecting and comparing give, none of which a test may change."""
    import gptfl
    from gptfl.store.features import write_features
    from gptfl.store.recordings import write_dynamics
    from tests.synthetic import synthetic

    folder = tmp_path_factory.mktemp("results")
    dynamics, features = synthetic(14, pool=12, test=6, subset=6, steps=6, every=2)
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    write_features(folder / "syn.synthetic.features.h5", features)
    simulator = gptfl.open_recording(folder / "syn.dynamics.h5").fit("exposure-gp")
    ids = [example.id for example in dynamics.pool]
    return SimpleNamespace(
        dynamics=dynamics,
        simulation=simulator.simulate(subset=ids[:5], orders=2),
        many=simulator.simulate_many([ids[:5], ids[5:9]]),
        ranking=simulator.influence(),
        selection=simulator.select(4, search=0),
        comparison=gptfl.open_recording(folder / "syn.dynamics.h5").compare([]),
    )
