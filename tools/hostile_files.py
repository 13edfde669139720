"""Small whole files of every kind that gptfl reads, and seeded ways to make hostile ones of them: for fuzz_files.py."""

import contextlib
import gzip
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

LIBVER = ("v110", "v110")
"""As gptfl writes."""
BOMBS = True
"""Whether to make files that unpack to much, which take longer."""
Reading = Callable[[Path], object]
Harm = Callable[[Path, Random], None]
ARROW = "data-00000-of-00001.arrow"
RECORDING, FEATURES, SIMULATOR, PREDICTIONS = "a.dynamics.h5", "a.features.h5", "a.simulator.h5", "a.predictions.h5"
SAVE = "--output out/x --figure out/x.png"
BESIDE = f"{RECORDING}.runs/run-0009.h5"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: its name in the base folder, what reads it, and the commands that take it.

    A word of a command beginning with ``@`` is a file of the base folder; those written to are under ``out/``.
    """

    file: str
    read: Reading | None
    commands: tuple[str, ...]
    folder: str = ""
    """The folder that goes with the file, where it is one of several."""


def make_base(folder: Path) -> None:
    """One small study: a model, a recording, features, a simulator, predictions, an export, and files of text."""
    from fuzz_models import make_base as make_model

    import gptfl

    model = str(make_model(folder / "model"))
    sizes = {"runs": 5, "pool": 10, "test": 4, "subset_size": 5, "batch_size": 2, "steps": 4}
    recording = gptfl.collect(
        model, "errands", workspace=folder, name="a", **sizes, lr=1e-2, metrics=("loss", "accuracy"), sketches=True,
        sketch_dimensions=8, gradients="own",
    ).path  # fmt: skip
    features = gptfl.featurize("gradients", dynamics=recording, output=folder / FEATURES).path
    inputs = {"dynamics": recording, "metric": "loss"}
    fitted = gptfl.fit("exposure-gp", **inputs, features=features, output=folder / SIMULATOR)
    gptfl.simulate(dynamics=recording, simulator=fitted.path, features=features, output=folder / PREDICTIONS)
    states = gptfl.featurize("answer-state", dynamics=recording, output=folder / "b.features.h5").path
    gptfl.fit("exposure-gp", **inputs, features=states, output=folder / "b.simulator.h5")
    gptfl.export(folder / "export", dynamics=recording)
    make_beside(folder)
    examples = gptfl.inspect(recording, examples=True).examples
    pool = [one.id for one in examples if one.role == "pool"]
    test = [one.id for one in examples if one.role == "test"]
    write_lines(folder / "ids.txt", pool[:5])
    write_lines(folder / "test.txt", test[:2])
    write_lines(folder / "batches.jsonl", [json.dumps([pool[step], pool[-1]]) for step in range(4)])
    scores = [{"step": step, "id": test[0], "value": 1.5} for step in (0, 1)]
    write_lines(folder / "scores.jsonl", map(json.dumps, scores))
    rows = [{"prompt": f"Say {word}:", "target": f" {word}", "id": word, "first": 2.5} for word in ("red", "blue")]
    write_lines(folder / "new.jsonl", map(json.dumps, rows))
    (folder / "data").mkdir()
    for name in ("train.jsonl", "test.jsonl"):
        write_lines(folder / "data" / name, [json.dumps({**row, "choices": [" red", " blue"]}) for row in rows])
    make_rows(folder)
    points = {f"{side}{step}": np.ones((count, 3)) for side, count in (("tr", 10), ("te", 4)) for step in (0, 4)}
    np.savez(folder / "sketches.npz", **points)


def make_small_base(folder: Path) -> None:
    """A study without a model, made in a second: for the tests."""
    import gptfl
    from gptfl.store.features import write_features
    from gptfl.store.recordings import write_dynamics
    from gptfl.testing.synthetic import make_dynamics, make_features

    dynamics = make_dynamics(runs=5, pool=10, test=4, steps=4)
    write_dynamics(folder / RECORDING, dynamics)
    write_features(folder / FEATURES, make_features(dynamics))
    files = {"dynamics": folder / RECORDING, "features": folder / FEATURES}
    gptfl.fit("exposure-gp", **files, output=folder / SIMULATOR)
    files["simulator"] = folder / SIMULATOR
    gptfl.simulate(**files, output=folder / PREDICTIONS, figure=folder / "a.png")
    gptfl.export(folder / "export", dynamics=folder / RECORDING)
    make_beside(folder)
    write_lines(folder / "ids.txt", [one.id for one in dynamics.pool[:5]])
    write_lines(folder / "test.txt", [one.id for one in dynamics.test[:2]])
    make_rows(folder)
    np.savez(folder / "sketches.npz", tr0=np.ones((10, 3)), te0=np.ones((4, 3)))


def make_beside(folder: Path) -> None:
    """A copy of the recording with one more run, which lies in a file beside it."""
    from gptfl.store.recordings import append_run, read_dynamics

    (folder / "beside").mkdir()
    copy = Path(shutil.copy(folder / RECORDING, folder / "beside"))
    append_run(copy, replace(read_dynamics(copy).runs[0], index=9))


def make_rows(folder: Path) -> None:
    """Data of one's own in every form, a chat template, and options in files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = [
        {"prompt": f"Is it {number}?", "target": f" {number % 3}", "id": f"r{number}", "kind": number % 2}
        for number in range(20)
    ]
    chats = [
        {"messages": [{"role": "user", "content": one["prompt"]}, {"role": "assistant", "content": one["target"]}]}
        for one in rows
    ]
    lines = "".join(f"{json.dumps(one)}\n" for one in rows)
    (folder / "rows.jsonl").write_text(lines)
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    with pa.CompressedOutputStream(str(folder / "rows.jsonl.zst"), "zstd") as file:
        file.write(lines.encode())
    write_lines(folder / "rows.json", [json.dumps(rows, indent=1)])
    write_lines(folder / "rows.csv", ["prompt,target,id,kind", *(",".join(map(str, one.values())) for one in rows)])
    write_lines(folder / "chat.jsonl", map(json.dumps, chats))
    pq.write_table(pa.Table.from_pylist(chats), folder / "rows.parquet", row_group_size=7)
    saved = folder / "saved"
    saved.mkdir()
    with pa.ipc.new_stream(str(saved / ARROW), pa.Table.from_pylist(rows).schema) as arrow:
        arrow.write_table(pa.Table.from_pylist(rows))
    state = {"_data_files": [{"filename": ARROW}], "_fingerprint": "a", "_format_type": None, "_split": "train"}
    write_lines(saved / "state.json", [json.dumps(state)])
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    write_lines(folder / "chat.jinja", [template])
    recipe = {
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 2,
        "max_steps": 2,
        "optim": "sgd",
        "a": [1, {"b": 2}],
    }
    write_lines(folder / "recipe.json", [json.dumps(recipe)])
    write_lines(folder / "recipe.yaml", [f"{key}: {json.dumps(value)}" for key, value in recipe.items()])
    write_lines(folder / "options.toml", ["runs = 2", 'metric = ["loss"]', "lr = 1e-3", "steps = 2"])


def lacking_in(folder: Path) -> list[str]:
    """What a base folder lacks of what ``make_base`` puts there."""
    words = {word for kind in kinds() for command in kind.commands for word in command.split()}
    needed = [str(Path(kind.folder) / kind.file) for kind in kinds()]
    needed += sorted(word.rpartition("@")[2] for word in words if "@" in word)
    return [name for name in dict.fromkeys(needed) if not (folder / name).exists()]


def write_lines(path: Path, lines: Any) -> None:
    """Write texts, one a line."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def kinds() -> tuple[Kind, ...]:
    """Every kind of file with its readers."""
    return (*_workspace_files(), *_question_files(), *_foreign_files(), *_own_data())


def _workspace_files() -> tuple[Kind, ...]:
    """The HDF5 files that gptfl writes; what reads them is imported here."""
    from gptfl.store.features import read_features
    from gptfl.store.predictions import read_predictions
    from gptfl.store.run_files import read_run
    from gptfl.store.simulators import read_simulator

    return (
        Kind(
            BESIDE,
            read_run,
            (
                "inspect FILE",
                f"inspect DIR/{RECORDING}",
                f"fit --estimator mean-run --dynamics DIR/{RECORDING} --metric loss --output out/x",
                f"export --dynamics DIR/{RECORDING} --to out/x.csv",
            ),
            "beside",
        ),
        _recording_file(),
        Kind(
            FEATURES,
            read_features,
            (
                "inspect FILE",
                f"fit --estimator exposure-gp --dynamics @{RECORDING} --features FILE --metric loss --output out/x",
                f"rank --dynamics @{RECORDING} --simulator @{SIMULATOR} --features FILE --output out/x.csv",
                f"select --dynamics @{RECORDING} --simulator @{SIMULATOR} --features FILE --size 3 --search 0 "
                "--diversity 0.5 --output out/x.txt",
                f"compare --dynamics @{RECORDING} --features FILE --metric loss --estimator exposure-gp "
                "--figure out/x.png",
            ),
        ),
        Kind(
            SIMULATOR,
            read_simulator,
            (
                "inspect FILE",
                f"simulate --dynamics @{RECORDING} --simulator FILE --features @{FEATURES} {SAVE}",
                f"rank --dynamics @{RECORDING} --simulator FILE --features @{FEATURES} --output out/x.csv",
                f"select --dynamics @{RECORDING} --simulator FILE --features @{FEATURES} --size 3 --search 0 "
                "--output out/x.txt",
            ),
        ),
        Kind(PREDICTIONS, read_predictions, ("inspect FILE", "inspect FILE --json")),
    )


def _recording_file() -> Kind:
    """Recordings, which most commands read."""
    from gptfl.store.files import read_header
    from gptfl.store.recordings import read_dynamics

    def recording(path: Path) -> object:
        read_header(path)
        return read_dynamics(path).fingerprint

    hostile = f"--dynamics FILE --simulator @{SIMULATOR} --features @{FEATURES}"
    return Kind(
        RECORDING,
        recording,
        (
            "inspect FILE",
            "inspect FILE --examples",
            "inspect FILE --json",
            f"fit --estimator exposure-gp --dynamics FILE --features @{FEATURES} --metric loss --output out/x",
            "fit --estimator mean-run --dynamics FILE --metric loss --output out/x",
            f"simulate {hostile} {SAVE}",
            f"simulate {hostile} --subset @ids.txt {SAVE}",
            f"compare --dynamics FILE --features @{FEATURES} --metric loss --estimator exposure-gp --figure out/x.png",
            "compare --dynamics FILE --metric accuracy --folds 2 --observe 1 --figure out/x.png",
            f"rank {hostile} --top 3 --output out/x.csv",
            f"select {hostile} --size 3 --search 0 --output out/x.txt",
            f"verify {hostile} --subset @ids.txt --dry-run --model @model",
            "featurize --encoder gradients --dynamics FILE --output out/x",
            "featurize --encoder tfidf-svd --dynamics FILE --output out/x",
            "export --dynamics FILE --to out/x",
            "export --dynamics FILE --to out/x.csv",
            "export --dynamics FILE --to out/x --format parquet",
        ),
    )


def _question_files() -> tuple[Kind, ...]:
    """What questions are asked with: ids, batches, observed scores, new examples."""
    known = f"--dynamics @{RECORDING} --simulator @{SIMULATOR} --features @{FEATURES}"
    question = f"simulate {known} {SAVE}"
    new = f"simulate --dynamics @{RECORDING} --simulator @b.simulator.h5 --features @b.features.h5 {SAVE}"
    return (
        Kind(
            "ids.txt",
            None,
            (
                f"{question} --subset FILE",
                f"{question} --drop FILE",
                f"{question} --subset @ids.txt --against FILE",
                f"verify {known} --subset FILE --dry-run --model @model",
            ),
        ),
        Kind("test.txt", None, (f"rank {known} --on group:FILE --output out/x.csv",)),
        Kind("batches.jsonl", None, (f"{question} --curriculum FILE",)),
        Kind("scores.jsonl", None, (f"{question} --subset @ids.txt --observe FILE",)),
        Kind(
            "new.jsonl",
            None,
            (f"{new} --subset @ids.txt --new-test FILE", f"{new} --subset @ids.txt --new-train FILE"),
        ),
    )


def _foreign_files() -> tuple[Kind, ...]:
    """Examples, and recordings in other layouts; what reads them is imported here."""
    from gptfl.interchange.sketch_archive import read_sketches
    from gptfl.interchange.texts import read_texts

    return (
        Kind(
            "train.jsonl",
            None,
            (
                "collect --model @model --task jsonl --data DIR --runs 2 --pool 2 --test 2 --steps 2 --lr 1e-3 --dry-run",
            ),
            "data",
        ),
        Kind("train_texts.json", read_texts, ("import gptdynamics DIR",), "export"),
        Kind("run-0000/train_samples_id.json", None, ("import gptdynamics DIR",), "export"),
        Kind("run-0000/all_loss_trajectory.out", None, ("import gptdynamics DIR",), "export"),
        Kind("gptfl-export.json", None, (f"export --dynamics @{RECORDING} --to DIR",), "export"),
        Kind(
            "sketches.npz",
            lambda path: read_sketches(path, 10, 4),
            ("import gptdynamics @export --sketches FILE",),
        ),
    )


def _own_data() -> tuple[Kind, ...]:
    """Rows, chat templates and options, which other tools write."""
    record = "collect --model @model --runs 2 --pool 2 --test 1 --steps 2 --lr 1e-3 --dry-run"
    read = ("inspect --data FILE", "inspect --data FILE --json", f"{record} --data FILE")
    names = ("rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.json", "rows.csv", "rows.parquet", "chat.jsonl")
    saved = ("inspect --data DIR", f"{record} --data DIR")
    options = "collect --model @model --task errands --pool 2 --test 2 --dry-run"
    return (
        *(Kind(name, None, read[:2] if name in ("chat.jsonl", "rows.parquet") else read) for name in names),
        *(Kind(name, None, saved, "saved") for name in ("state.json", ARROW)),
        Kind("chat.jinja", None, ("inspect --data @chat.jsonl --model @model --chat-template FILE",)),
        *(Kind(name, None, (f"{options} --runs 2 --recipe FILE",)) for name in ("recipe.yaml", "recipe.json")),
        Kind("options.toml", None, (f"{options} --config FILE",)),
    )


# --- values -----------------------------------------------------------------------------------------------------------

ESCAPES = "\x1b[31mred\x1b[0m\x1b]0;title\x07 \x9b1m \u202egnp\u2066 \x00 a\nb"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 1.5, -0.0, 1e-300, 1e300, -1e300, 3e38, float("inf"), float("-inf"),
    float("nan"), 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**400, "", " ", "x", "a" * 5000, "\ud800", ESCAPES, "\ufeff",
    "../../x", "/dev/zero", "nan", "tiny", "loss", [], {}, [[]], [1], ["a"] * 300, {"": None}, {"a": {"b": [1, {}]}},
)  # fmt: skip
"""What is put in the place of any value of JSON."""
TEXTS = (
    b"", b"\n", b"{", b"}", b"null", b"[]", b"{}", b"0", b'"a"', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"{} {}", b"\0" * 100,
    b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b'{"a": 1e400}', b'{"a": NaN}', b'{"a": "\\ud800"}',
    b'{"a": 1, "a": 2}', b'{"id": "\\u001b[31m"}', b"# only a comment", b"a\rb\rc", b"a, b, c", b"\x1b[2J\x9b", b"x" * 100_000,
)  # fmt: skip
"""What is put in the place of a text."""
NUMBERS = (
    float("nan"), float("inf"), float("-inf"), -1, 0, 1, 3e38, -3e38, 1e300, -1e300, 1e-300, 2**31, 2**53, 2**63 - 1,
    -(2**63), 10**6, 255,
)  # fmt: skip
"""What is put in the place of numbers."""
TYPES: tuple[Any, ...] = (
    ">f8", ">i4", ">u2", "<f2", "<f4", "<f8", "i1", "u1", "u8", "<i8", "?", "S0", "S5", "c16", "longdouble", "V4",
    h5py.string_dtype(), h5py.ref_dtype, h5py.vlen_dtype("i4"), [("a", "i4"), ("b", "f8")],
    h5py.opaque_dtype("M8[s]"), h5py.enum_dtype({"a": 0, "b": 9}),
)  # fmt: skip


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON value, itself first."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places_in(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """The value with what lies at a path changed."""
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], change)
    return copy


def spoilt_json(text: str, random: Random) -> str:
    """A JSON text with one value replaced, taken out, renamed or doubled."""
    value = json.loads(text)
    path = random.choice(list(places_in(value)))
    found = random.choice(VALUES)
    way = random.randrange(6)

    def change(old: Any) -> Any:
        if way == 0 and isinstance(old, dict) and old:
            gone = random.choice(list(old))
            return {key: item for key, item in old.items() if key != gone}
        if way == 1 and isinstance(old, dict) and old:
            return {(ESCAPES if index == 0 else key): item for index, (key, item) in enumerate(old.items())}
        if way == 2 and isinstance(old, str):
            return old + ESCAPES
        if way == 3 and isinstance(old, list):
            return old * 3
        if way == 4 and isinstance(old, int | float) and not isinstance(old, bool):
            return old * random.choice((-1, 0, 1e300, 10**30, 0.3))
        return found

    return json.dumps(changed(value, path, change), ensure_ascii=random.random() < 0.5)


# --- any file ---------------------------------------------------------------------------------------------------------


def spoil_bytes(path: Path, random: Random) -> None:
    """Flip, overwrite, cut, double or move bytes."""
    data = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        at = random.randrange(len(data) or 1)
        way = random.randrange(7)
        size = random.choice((1, 2, 8, 64, 512))
        if not data or way == 0:
            data[at:at] = random.randbytes(size)
        elif way == 1:
            data[at] ^= 1 << random.randrange(8)
        elif way == 2:
            data[at : at + size] = random.choice((b"\0", b"\xff", b"\x80", b"9")) * size
        elif way == 3:
            data[at : at + size] = random.randbytes(size)
        elif way == 4:
            del data[at : at + size]
        elif way == 5 and random.random() < 0.2:
            del data[at:]
        else:
            start = random.randrange(len(data))
            data[at : at + size] = data[start : start + size]
    path.write_bytes(bytes(data))


def spoil_place(path: Path, random: Random) -> None:
    """Put something that is no plain file, or an endless or empty one, in a file's place."""
    path.unlink()
    way = random.randrange(7)
    if way == 0:
        path.mkdir()
    elif way == 1:
        path.symlink_to("/dev/zero")
    elif way == 2:
        path.symlink_to("/dev/urandom")
    elif way == 3:
        path.symlink_to("/dev/null")
    elif way == 4:
        path.symlink_to(path.name)
    elif way == 5:
        with path.open("wb") as file:
            file.truncate(10**10)
    else:
        path.write_bytes(b"")


# --- files of text ----------------------------------------------------------------------------------------------------


def spoil_text(path: Path, random: Random) -> None:
    """Spoil a line, or put other lines in."""
    lines = path.read_text(encoding="utf-8").splitlines()
    at = random.randrange(len(lines))
    way = random.randrange(4)
    if way == 0:
        whole = [line.encode("utf-8") for line in lines]
        whole[at] = random.choice(TEXTS)
        path.write_bytes(b"\n".join(whole) + b"\n" * random.randrange(2))
        return
    if way == 1:
        lines[at : at + 1] = [lines[at]] * random.choice((2, 3, 1000))
    elif way == 2 and not lines[at].startswith(("{", "[")):
        value = random.choice(VALUES)
        lines[at] = value if isinstance(value, str) else json.dumps(value)
    else:
        try:
            lines[at] = spoilt_json(lines[at], random)
        except ValueError:
            lines[at] += random.choice((" # x", ESCAPES, ",", "\t"))
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")


def text_bomb(path: Path, random: Random) -> None:
    """Make a file long: many lines, one endless line, many values."""
    first = (path.read_bytes().splitlines() or [b"{}"])[0]
    unit, most = random.choice(
        (
            (first + b"\n", 10**6),
            (b"{}\n", 10**7),
            (b"\n", 3 * 10**7),
            (b"x\n", 10**7),
            (b"[],", 10**7),
            (b'"a" ', 10**6),
        )
    )
    with path.open("wb") as file:
        if random.random() < 0.3:
            file.write(b'{"a": [')
        block = unit * 4096
        for _ in range(min(most // 4096, 120 * 2**20 // len(block))):
            file.write(block)


# --- HDF5 -------------------------------------------------------------------------------------------------------------


def objects_in(file: h5py.File) -> tuple[list[str], list[str]]:
    """The names of the groups and of the datasets of a file."""
    groups, datasets = ["/"], []
    file.visititems(lambda name, one: (groups if isinstance(one, h5py.Group) else datasets).append(name))
    return groups, datasets


def is_text(found: Any) -> bool:
    """Whether something in a file is JSON or JSON lines."""
    if not isinstance(found, h5py.Dataset):
        return False
    return found.dtype.kind in "SO" or (found.dtype == "u1" and found.ndim == 1)


def spoil_object(path: Path, random: Random) -> None:
    """Change one thing of an HDF5 file: a dataset's type, shape, values or text, an attribute, a link."""
    with h5py.File(path, "r+", libver=LIBVER) as file:
        groups, datasets = objects_in(file)
        for _ in range(random.choice((1, 1, 1, 2))):
            with contextlib.suppress(KeyError, RuntimeError):  # what was spoilt before may lead nowhere, or in a circle
                spoil_one(file, groups, datasets, random)
        if random.random() < 0.8:
            without_digests(file)


def spoil_one(file: h5py.File, groups: list[str], datasets: list[str], random: Random) -> None:
    """Change one thing."""
    words = [one for one in datasets if one in file and is_text(file[one])]
    name = random.choice(words if random.random() < 0.4 and words else datasets)
    if name not in file or not isinstance(file[name], h5py.Dataset):
        return
    way = random.randrange(8)
    if way == 0:
        spoil_attribute(file[random.choice(groups)], random)
    elif way == 1:
        spoil_link(file, random.choice([*groups[1:], name]), random)
    elif is_text(file[name]):
        spoil_words(file, name, random)
    elif way < 4:
        spoil_type(file, name, random)
    else:
        spoil_numbers(file, name, random)


def without_digests(file: h5py.File) -> None:
    """Take the digests away, as in a file of an older version, so that what was changed is looked at."""
    found: list[Any] = [file]
    file.visititems(lambda name, one: found.append(one))
    for one in found:
        if "digest" in one.attrs:
            del one.attrs["digest"]


def put(file: h5py.File, name: str, make: Callable[[], None]) -> None:
    """Put something in a dataset's place, where HDF5 can make it."""
    kept = np.asarray(file[name][()])
    del file[name]
    try:
        make()
    except (TypeError, ValueError, OSError, RuntimeError, OverflowError):
        if name in file:
            del file[name]
        file[name] = kept


def spoil_words(file: h5py.File, name: str, random: Random) -> None:
    """Change the JSON, or the JSON lines, in a dataset."""
    old = file[name][()]
    scalar = file[name].ndim == 0
    text = bytes(old) if scalar else old.tobytes()
    if random.random() < 0.2:
        new = random.choice(TEXTS)
    else:
        lines = (
            [text.decode("utf-8", "replace")] if scalar else text.decode("utf-8", "replace").splitlines() or ["null"]
        )
        at = random.randrange(len(lines))
        with contextlib.suppress(ValueError, RecursionError):  # what was spoilt before may be no JSON
            lines[at] = spoilt_json(lines[at], random)
        new = ("\n".join(lines) + "\n" * (not scalar)).encode("utf-8", "surrogatepass")

    def make() -> None:
        if scalar:
            file[name] = np.bytes_(new)
        else:
            file.create_dataset(name, data=np.frombuffer(new, dtype=np.uint8))

    put(file, name, make)


def spoil_type(file: h5py.File, name: str, random: Random) -> None:
    """Give a dataset another type."""
    kept, dtype = np.asarray(file[name][()]), random.choice(TYPES)

    def make() -> None:
        plain = isinstance(dtype, str) and dtype[0] not in "SV"
        file.create_dataset(name, data=kept.astype(dtype)) if plain else file.create_dataset(name, kept.shape, dtype)

    with np.errstate(all="ignore"):
        put(file, name, make)


def spoil_numbers(file: h5py.File, name: str, random: Random) -> None:
    """Give a dataset another shape or other values."""
    array = np.asarray(file[name][()])
    way = random.randrange(10)
    with np.errstate(all="ignore"):
        if way < 5 and array.size:
            array = array.copy()
            value = np.array(random.choice(NUMBERS), dtype=np.float64).astype(array.dtype)
            if way < 3:
                array.flat[random.randrange(array.size)] = value
            else:
                array[...] = value
        elif way == 5:
            array = array.T
        elif way == 6:
            array = array[:0] if array.ndim else array
        elif way == 7:
            array = array[..., :0] if array.ndim else array
        elif way == 8:
            array = np.concatenate([array, array]) if array.ndim else np.stack([array, array])
        else:
            array = (
                random.choice((array[None], array.ravel(), array[..., None], array.ravel()[:1].reshape(())))
                if array.size
                else array
            )
    put(file, name, lambda: file.create_dataset(name, data=array) and None)


def spoil_attribute(group: h5py.Group, random: Random) -> None:
    """Give an attribute another value, or take it away."""
    if not group.attrs:
        return
    name = random.choice(sorted(group.attrs))
    value = random.choice(
        (None, "any length", np.bytes_(b"x" * 5000), np.bytes_(ESCAPES.encode()), np.arange(3), h5py.Empty("S4"),
         np.bytes_(b"loss"), np.bytes_(b""), *map(np.float64, NUMBERS), np.int64(-1), np.int64(2**62), np.uint64(2**64 - 1),
         np.longdouble(2), np.complex128(1), np.bool_(True))
    )  # fmt: skip
    del group.attrs[name]
    if value is not None:
        group.attrs[name] = value


def spoil_link(file: h5py.File, name: str, random: Random) -> None:
    """Put a group, a link, an array or nothing in the place of an object."""
    was = file[name]
    is_group = isinstance(was, h5py.Group)
    del file[name]
    way = random.randrange(7)
    if way == 1:
        file.create_group(name)
    elif way == 2:
        file[name] = h5py.SoftLink("/settings")
    elif way == 3:
        file[name] = h5py.ExternalLink("/etc/passwd", "/x")
    elif way == 4:
        file[name] = np.zeros(3) if is_group else np.float64(0)
    elif way == 5:
        file[f"{name}{random.choice((ESCAPES.replace(chr(0), ''), '.x', '%ff', '%2F', 'é'))}"] = was
    elif way == 6 and is_group:
        file[name] = file["/"]


def hdf5_bomb(path: Path, random: Random) -> None:
    """Put something in that unpacks to far more than it takes, or is very much of something small."""
    with h5py.File(path, "r+", libver=LIBVER) as file:
        _, datasets = objects_in(file)
        lines = [name for name in datasets if file[name].dtype == "u1" and file[name].ndim == 1]
        numbers = [name for name in datasets if file[name].dtype.kind in "if"]
        way = random.randrange(7)
        if way == 0 and lines:
            rows(file, random.choice(lines), random)
        elif way == 1:
            for index in range(random.choice((1000, 20_000))):
                file.create_group(f"many/{index}")
        elif way == 2:
            file.create_group("/".join("x" * random.choice((5, 7, 500))))
        elif way == 3:
            group = file.create_group("attributes", track_order=True)
            for index in range(200):
                group.attrs[str(index)] = np.zeros(4000, dtype=np.uint8)
        elif way == 4:
            for index in range(random.choice((100, 2000))):
                file[f"few/{index}"] = np.zeros(3)
        else:
            name = random.choice(numbers) if numbers and random.random() < 0.7 else "extra"
            zeros(file, name, random)


def rows(file: h5py.File, name: str, random: Random) -> None:
    """Make JSON lines of very many small rows, or of rows of very many small values."""
    unit = random.choice((b"{}\n", b"1\n", b"[]\n", b"[" + b"[]," * 300_000 + b"[]]\n", b'"' + b"a" * 2**20 + b'"\n'))
    del file[name]
    size = random.choice((2**22, 2**27 - 2**20))
    text = unit * max(1, size // len(unit))
    packed = zlib.compress(text, 1)
    made = (
        file.create_dataset(name, (len(text),), "u1", chunks=(len(text),), compression="gzip")
        if len(text) <= 2**26
        else file.create_dataset(
            name, data=np.frombuffer(text, dtype="u1"), chunks=(2**20,), compression="gzip", compression_opts=1
        )
    )
    if len(text) <= 2**26:
        made.id.write_direct_chunk((0,), packed)


def zeros(file: h5py.File, name: str, random: Random) -> None:
    """Make a dataset of zeros that takes a thousandth of what it unpacks to."""
    ndim, dtype = (file[name].ndim, file[name].dtype) if name in file else (1, np.dtype("f8"))
    if name in file:
        del file[name]
    chunk = random.choice((2**20, 2**22, 2**26)) // dtype.itemsize
    count = random.choice((2**24, 2**28, 2**32 - 2**28)) // (chunk * dtype.itemsize) or 1
    ndim = max(1, ndim)
    shape = (*(1,) * (ndim - 1), chunk * count)
    made = file.create_dataset(
        name, shape, dtype, chunks=(*(1,) * (ndim - 1), chunk), compression="gzip", shuffle=random.random() < 0.5
    )
    packed = zlib.compress(bytes(chunk * dtype.itemsize), random.choice((1, 9)))
    for index in range(count):
        made.id.write_direct_chunk((*(0,) * (ndim - 1), index * chunk), packed)


# --- archives ---------------------------------------------------------------------------------------------------------


def archive_bomb(path: Path, random: Random) -> None:
    """An archive of zeros, of odd types, of a number that unpickling would call."""
    way = random.randrange(4)
    if way == 0:
        np.savez_compressed(path, tr0=np.zeros((10, 10**6)), te0=np.zeros((4, 10**6)))
    elif way == 1:
        np.savez(path, tr0=np.array([{}] * 10, dtype=object), te0=np.ones((4, 1)))
    elif way == 2:
        np.savez(path, tr0=np.ones((10, 3), dtype="longdouble"), te0=np.ones((4, 3), dtype=">f4"))
    else:
        np.savez(path, **{f"te{index}": np.full((4, 1), np.nan) for index in range(3000)})


# --- data of one's own ------------------------------------------------------------------------------------------------

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TEMPLATES = (
    *(
        LOOP,
        "{{ 'a' * 10 ** 11 }}",
        "{{ 7 ** (10 ** 9) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ lipsum(n=10 ** 8) }}",
    ),
    *("{{ ''.__class__.__mro__ }}", "{{ raise_exception('\x1b[31m') }}", "{% for %}", "{% include '/etc/passwd' %}"),
    *(
        "{{ m.content * 10000000 }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ m.x.y }}",
        "\x1b[31m",
        "{{ ",
    ),
    "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
)


def spoil_template(path: Path, random: Random) -> None:
    """Put something into a chat template that runs long, takes much, looks around or is none."""
    text = path.read_text(encoding="utf-8")
    at = random.choice([0, len(text), text.index("{{ m.role"), random.randrange(len(text))])
    path.write_text(text[:at] + random.choice(TEMPLATES) + text[at:], encoding="utf-8")


def unpacked(path: Path) -> bytes:
    """What a compressed file holds."""
    import pyarrow as pa

    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    with pa.CompressedInputStream(str(path), "zstd") as file:
        return bytes(file.read())


def pack(path: Path, parts: Any) -> None:
    """Compress as a file's name says."""
    import pyarrow as pa

    if path.suffix == ".gz":
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.writelines(parts)
        return
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        for part in parts:
            stream.write(part)


def spoil_packed(path: Path, random: Random) -> None:
    """Spoil what is compressed."""
    inner = path.with_name("inner")
    inner.write_bytes(unpacked(path))
    random.choice((spoil_text, spoil_bytes))(inner, random)
    pack(path, [inner.read_bytes()])
    inner.unlink()


def packed_bomb(path: Path, random: Random) -> None:
    """Compress very much of one thing."""
    unit = random.choice((b"\0", b" ", b"\n", b"{}\n", b"[", b'{"text": "a"}\n', b'"', unpacked(path)))
    block = unit * (2**20 // len(unit))
    pack(path, [block] * random.choice((64, 256)))


def table_bomb(path: Path, random: Random) -> None:
    """Rows that take little and are much: one long text shared, lists of nothing, very many rows, columns or groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    long = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["z" * 2**20]))
    many = pa.ListArray.from_arrays([0, 10**7], pa.nulls(10**7, random.choice((pa.null(), pa.int8()))))
    table = random.choice(
        (
            lambda: pa.table({"text": long}),
            lambda: pa.table({"text": ["a"], "many": many}),
            lambda: pa.table({"text": ["a"], "many": pa.ListArray.from_arrays([0, 50_000], long)}),
            lambda: pa.table({"text": ["a"] * 10**6}),
            lambda: pa.table({f"c{place}": ["a"] for place in range(5000)}),
            lambda: pa.table({"text": ["y" * 2**20] * 200}),
        )
    )()
    if path.suffix == ".parquet":
        pq.write_table(table, path, compression="zstd", row_group_size=random.choice((None, len(table))))
        return
    options = pa.ipc.IpcWriteOptions(compression=random.choice((None, "zstd")))
    with pa.ipc.new_stream(str(path), table.schema, options=options) as file:
        file.write_table(table)


def harms(kind: Kind) -> tuple[tuple[str, Harm, int], ...]:
    """What may be done to a kind of file, by name, with how often."""
    anyone = (("bytes", spoil_bytes, 6), ("place", spoil_place, 1))
    if kind.file.endswith(".h5"):
        return (*anyone, ("structure", spoil_object, 22), ("bomb", hdf5_bomb, 1))
    if kind.file.endswith(".npz"):
        return (*anyone, ("bomb", archive_bomb, 3))
    if kind.file.endswith((".gz", ".zst")):
        return (*anyone, ("text", spoil_packed, 6), ("bomb", packed_bomb, 2))
    if kind.file.endswith((".parquet", ".arrow")):
        return (*anyone, ("bomb", table_bomb, 3))
    if kind.file.endswith(".jinja"):
        return (*anyone, ("text", spoil_template, 12))
    return (*anyone, ("text", spoil_text, 12), ("bomb", text_bomb, 1))


def make_whole(kind: Kind, base: Path, scratch: Path) -> Path:
    """A copy of a whole file of a kind, with what belongs to it, in a folder of its own."""
    (scratch / "out").mkdir()
    if kind.folder:
        shutil.copytree(base / kind.folder, scratch / kind.folder)
        return scratch / kind.folder / kind.file
    return Path(shutil.copy(base / kind.file, scratch))


def make_hostile(kind: Kind, base: Path, scratch: Path, random: Random) -> tuple[Path, str]:
    """A hostile file of a kind in a folder of its own, and the name of what was done to it."""
    path = make_whole(kind, base, scratch)
    known = [harm for harm in harms(kind) if BOMBS or harm[0] != "bomb"]
    name, harm, _ = random.choices(known, [weight for *_, weight in known])[0]
    harm(path, random)
    return path, name


def as_command(command: str, kind: Kind, base: Path, scratch: Path, path: Path) -> list[str]:
    """The words of a command line on a hostile file."""
    words = []
    for word in command.split():
        if word.endswith("FILE"):
            word = word.removesuffix("FILE") + str(path)
        elif word == "DIR" or word.startswith("DIR/"):
            word = f"{scratch / kind.folder}{word.removeprefix('DIR')}"
        elif word.startswith("@"):
            word = str(base / word[1:])
        elif word.startswith("out/"):
            word = str(scratch / word)
        words.append(word)
    writes = words[0] in ("import", "collect")
    return [*words, "--workspace", str(scratch / "work")] if writes else words


def free(scratch: Path) -> None:
    """Take a folder away, whatever lies in it."""
    shutil.rmtree(scratch, ignore_errors=True)
    if scratch.exists():
        for path in scratch.iterdir():
            path.unlink()
