"""What names stand for."""

from pathlib import Path

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.training.names import resolve_model


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("pythia-410m", "EleutherAI/pythia-410m-deduped"),
        ("Pythia-2.8B", "EleutherAI/pythia-2.8b-deduped"),
        ("pythia-410m-deduped", "EleutherAI/pythia-410m-deduped"),
        ("pythia-14m", "EleutherAI/pythia-14m"),
        ("EleutherAI/pythia-410m", "EleutherAI/pythia-410m"),
        ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    ],
)
def test_names_of_the_hub(name: str, location: str) -> None:
    source = resolve_model(name)
    assert (source.kind, source.location) == ("hub", location)
    assert (location in source.announcement) == (name != location)


def test_a_folder_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "org" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    source = resolve_model("org/model")
    assert (source.kind, source.stem) == ("folder", "model")


@pytest.mark.parametrize("name", ["models/llama", "models/llama/", "./models/llama", "~/models/llama", "models//llama"])
def test_one_folder_by_any_spelling(here: Path, name: str) -> None:
    source = resolve_model(name)
    assert (source.kind, source.location, source.stem) == ("folder", str(here / "models" / "llama"), "llama")


@pytest.mark.parametrize("name", ["gpt2", "distilgpt2", "openai-gpt", "gpt2-xl", "openai-community/gpt2", "a_b/c.d-e"])
def test_words_and_pairs_of_words_are_ids_of_the_hub(here: Path, name: str) -> None:
    source = resolve_model(name)
    assert (source.kind, source.location) == ("hub", name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("./modls/x", "give a local folder, a Hub id, or one of pythia-14m"),
        ("models/lama", "did you mean 'models/llama'"),
        ("./models/lama/", "did you mean 'models/llama'"),
        ("~/models/lama", "did you mean '.*/models/llama'"),
        ("~/x", "give a local folder"),
        ("~nobody-here/x", "give a local folder"),
        ("/no/such", "give a local folder"),
        ("a/b/c", "give a local folder"),
        ("two words", "give a local folder"),
        ("", "give a local folder"),
        ("x" * 5000, "give a local folder"),
        ("nul\0", "give a local folder"),
    ],
)
def test_a_mistyped_folder_is_said_to_be_none(here: Path, name: str, hint: str) -> None:
    with pytest.raises(DataError, match=f"^--model .* is no folder: {hint}"):
        resolve_model(name)


def test_what_the_hubs_cache_holds_is_an_id_beside_a_folder_of_the_owners_name(here: Path) -> None:
    from tests.hub import add_file

    add_file(here / "hub", "models/lama", "0" * 40, "config.json", "model")
    assert resolve_model("models/lama").kind == "hub"


def test_a_folder_that_is_not_utf8_is_refused_in_one_line(here: Path) -> None:
    with pytest.raises(UsageError, match=r"^--model '\.\/mod\\xff' is not UTF-8: rename it"):
        resolve_model("./mod\udcff")
    bad = Path("bad\udcff")
    bad.mkdir()
    Path("models/llama").rename(bad / "llama")
    Path("link").symlink_to(bad / "llama")
    with pytest.raises(UsageError, match=r"^--model link: its folder '.*bad\\xff/llama' is not UTF-8"):
        resolve_model("link")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"is a folder without config\.json"),
        (["adapter_config.json"], r"is an adapter without its model: merge it into its model"),
    ],
)
def test_a_folder_without_a_model_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match=message):
        resolve_model(str(tmp_path))


def test_a_file_is_no_folder(here: Path) -> None:
    (here / "m.safetensors").touch()
    with pytest.raises(DataError, match=r"--model m\.safetensors is a file, not a folder"):
        resolve_model("m.safetensors")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("pythia-41m", "pythia-14m|pythia-410m"), ("smollm2-135m-instruc", "smollm2-135m-instruct"), ("tiyn", "tiny")],
)
def test_a_mistyped_short_name_gets_a_hint(name: str, hint: str) -> None:
    with pytest.raises(DataError, match=f"unknown model '{name}': did you mean '({hint})'"):
        resolve_model(name)
