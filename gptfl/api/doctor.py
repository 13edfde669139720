"""The whole road on somebody's own rows in one call: record, fit, judge, rank, propose a patch, verify it, write it."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.api.compare import compare_with
from gptfl.api.doctor_plan import DoctorPlan, about, read_state, seconds_of, write_state
from gptfl.api.doctor_recording import NAME, first_plan, record_in_stages
from gptfl.api.doctor_words import score_of, shown, too_little, verdict_of
from gptfl.api.report import report_with
from gptfl.api.simulator import Simulator, fitted_simulator
from gptfl.api.verify import verify_with
from gptfl.core import Progress, fingerprint, silent, user_path
from gptfl.core.curriculum import Stream, generator
from gptfl.core.display import Listed
from gptfl.core.texts import written_id
from gptfl.errors import DataError
from gptfl.features.featurize import featurize_with
from gptfl.influence.cleaning import CLEANING
from gptfl.influence.patch import held_against_the_average, patch_places, patch_table
from gptfl.influence.targets import CLOSED_FORM
from gptfl.influence.verdicts import HARMFUL
from gptfl.interchange.apply_rows import apply_with
from gptfl.interruption import leaving
from gptfl.options.apply import ApplyOptions
from gptfl.options.base import make
from gptfl.options.common import InputOptions
from gptfl.options.defaults import FEW_RUNS
from gptfl.options.doctor import DoctorOptions
from gptfl.options.evaluation import CompareOptions, VerifyOptions
from gptfl.options.recording import FEWER
from gptfl.options.report import ReportOptions
from gptfl.options.rows import RowOptions
from gptfl.options.signature import takes
from gptfl.options.simulation import FeaturizeOptions, FitOptions, SimulatorOptions
from gptfl.recording.resume import KEPT, NONE_KEPT, left_at
from gptfl.report.verification import read_verification
from gptfl.store.outputs import written_whole
from gptfl.store.workspace import Workspace

WITHOUT_PATCH = "without-patch.txt"
MOST_FOLDS = 5
Announce = Callable[[str, str, float], None]


@dataclass(frozen=True, slots=True)
class DoctorResult(Listed):
    """What it came to: ``verdict`` says it in a sentence.

    ``patch`` are the ids proposed to leave out, empty where nothing is. ``paired`` is what pairs of trainings without them
    and without as many random rows came to (``against``, ``change``, ``interval``, ``verdict``, ``predicted_change``). ``report``
    is the page and ``applied`` the folder of the rows that were written, None where there is none. Of a dry run only
    ``plan`` is there.
    """

    verdict: str
    plan: DoctorPlan
    workspace: Path
    patch: tuple[str, ...] = ()
    paired: Mapping[str, Any] | None = None
    skill: tuple[float, float, float] | None = None
    lds: tuple[float, float, float] | None = None
    report: Path | None = None
    applied: Path | None = None
    notes: tuple[str, ...] = ()


@takes(DoctorOptions)
def doctor(
    train: str | Path,
    eval: str | Path,
    model: str,
    *groups: object,
    progress: Progress = silent,
    announce: Announce | None = None,
    **options: Any,
) -> DoctorResult:
    """Find the rows that harm, within a time budget: proposed only where the simulator can be trusted, and verified.

    The same call again goes on where an interrupted one stopped.

    Args:
        train: the file of rows to train on.
        eval: the file of rows to test on.
        model: name, Hub id or folder.
        groups: options in groups, such as ``gptfl.options.recording.TrainingOptions(lr=1e-4)``.
        progress: called along the way.
        announce: gets each stage's name, what it made and the seconds it took.
        options: those of ``gptfl doctor`` (docs/cli.md) by name.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for options that make no sense, ``DataError`` where
    the budget is too short or what ``collect`` refuses, and as the other stages do.
    """
    made = make(DoctorOptions, *groups, train=train, eval=eval, model=model, **options)
    return doctor_with(made, progress=progress, announce=announce)


def doctor_with(
    options: DoctorOptions, *, progress: Progress = silent, announce: Announce | None = None
) -> DoctorResult:
    """``doctor`` with all options in one object."""
    budget = seconds_of(options.budget)
    space = Workspace.resolve(options.workspace)
    recording = space.dynamics_path(NAME)

    def left() -> str:
        again = f"the same gptfl doctor with --workspace {shlex.quote(str(space.root))} goes on from there"
        return f"finished runs are kept, {again}" if left_at(recording) == KEPT else NONE_KEPT

    with leaving(left):
        return _Road(options, budget, space, progress, announce).walk()


@dataclass(frozen=True, slots=True)
class _Road:
    """The stages, one after the other; each leaves files by which the next call finds it done."""

    options: DoctorOptions
    budget: float
    space: Workspace
    progress: Progress
    announce: Announce | None

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        started, made = time.perf_counter(), list[str]()
        yield made.append
        if self.announce is not None:
            self.announce(name, "; ".join(made), time.perf_counter() - started)

    @property
    def state(self) -> Path:
        return self.space.root / "doctor.json"

    def walk(self) -> DoctorResult:
        """All stages, or, of a dry run, the plan."""
        options, began = self.options, time.perf_counter()
        key = self._key()
        with self.stage("look") as describe:
            notes = self._look(describe)
        with self.stage("plan") as describe:
            plan = read_state(self.state, key) or first_plan(options, self.budget, self.space, self.progress)
            describe(
                f"{plan.runs} runs of about {about(plan.per_run)} s, then {plan.pairs} pairs of trainings to verify; about "
                f"{(plan.recording + plan.verifying) / 60:.1f} minutes of training in all"
            )
        if options.dry_run:
            return DoctorResult("Nothing was recorded (--dry-run).", plan, self.space.root, notes=notes)
        self.space.root.mkdir(parents=True, exist_ok=True)
        write_state(self.state, key, plan, {})
        path, plan = self._recorded(plan, key, began)
        simulator, skill, lds = self._fitted(plan, path)
        small = too_little(skill, lds, plan.runs)
        patch: tuple[str, ...] = ()
        paired: Mapping[str, Any] | None = None
        applied: Path | None = None
        if small is None:
            patch, table = self._patch(simulator)
            if patch:
                paired = self._verified(simulator, plan, patch, table)
                applied = self._applied(table, patch)
        if not patch:
            # The page would offer the one of an earlier call.
            (self.space.root / WITHOUT_PATCH).unlink(missing_ok=True)
        with self.stage("report") as describe:
            files = SimulatorOptions(simulator=simulator.path, workspace=self.space.root)
            page = report_with(
                make(ReportOptions, files, output=self.space.root / "report.html"), progress=self.progress
            )
            describe(str(page.path))
        verdict = small or verdict_of(simulator.metric, len(patch), paired, options.fdr, applied)
        found = DoctorResult(verdict, plan, self.space.root, patch, paired, skill, lds, page.path, applied, notes)
        write_state(self.state, key, plan, as_document(found))
        return found

    def _key(self) -> str:
        """What tells this question from others: the options and the rows."""
        digests = []
        for path in (user_path(self.options.train), user_path(self.options.eval)):
            try:
                digests.append(fingerprint(np.frombuffer(path.read_bytes(), dtype=np.uint8)))
            except OSError as error:
                raise DataError(f"{path} can't be read: {error.strerror or error}", "give a file of rows") from error
        known = asdict(self.options)
        plain = {
            name: known[name] for name in ("model", "budget", "fdr", "share", "record_every", "reading", "training")
        }
        return fingerprint(digests, repr(sorted(plain.items())), repr(self.options.execution))

    def _look(self, describe: Callable[[str], None]) -> tuple[str, ...]:
        from gptfl.recording.inspect_data import inspect_data

        reading, model = self.options.reading, self.options.model
        rows = RowOptions(
            train=self.options.train,
            eval=self.options.eval,
            fields=reading.fields,
            loss_on=reading.loss_on,
            chat_template=reading.chat_template,
            end_token=reading.end_token,
        )
        length = self.options.training.max_length
        found = inspect_data(model=model, max_length=length, rows=rows, progress=self.progress)
        known = dict(found.rows)
        most = f"of each side at most {FEWER}" if reading.pool is None and reading.test is None else "as asked"
        describe(f"{known['shape']}: {known['to train on']} to train on, {known['to test on']} to test on ({most})")
        return found.notes

    def _recorded(self, plan: DoctorPlan, key: str, began: float) -> tuple[Path, DoctorPlan]:
        """Record: the recording, and the plan as it is once runs have been timed."""

        def settled(now: DoctorPlan, change: str | None) -> None:
            started = time.perf_counter()
            # The same call again keeps to it.
            write_state(self.state, key, now, {})
            if change is not None and self.announce is not None:
                self.announce("plan", change, time.perf_counter() - started)

        with self.stage("collect") as describe:
            found, plan = record_in_stages(
                self.options, plan, self.budget, self.space, began, settled=settled, progress=self.progress
            )
            describe(f"{found.runs} runs, {found.recorded_now} of them new")
        return found.path, plan

    def _fitted(
        self, plan: DoctorPlan, path: Path
    ) -> tuple[Simulator, tuple[float, float, float] | None, tuple[float, float, float] | None]:
        """Embed, fit, and compare over folds: the simulator, its skill and its LDS with their intervals."""
        progress, root = self.progress, self.space.root
        with self.stage("featurize") as describe:
            vectors = featurize_with(make(FeaturizeOptions, dynamics=path, workspace=root), progress=progress)
            describe(vectors.path.name)
        inputs = InputOptions(dynamics=path, features=vectors.path, workspace=root)
        with self.stage("fit") as describe:
            simulator = fitted_simulator(make(FitOptions, inputs, estimator=FEW_RUNS), progress)
            describe(f"{simulator.estimator}, to {simulator.fit_runs} runs")
        with self.stage("compare") as describe:
            # Two runs or more in each fold, for LDS compares runs within one.
            folds = max(2, min(MOST_FOLDS, plan.runs // 2))
            asked = make(CompareOptions, inputs, estimators=(FEW_RUNS,), folds=folds, figure=False)
            rows = compare_with(asked, progress=progress).rows
            row = next(one for one in rows if one.name == FEW_RUNS)
            skill, lds = (score_of(row, name) for name in ("skill", "lds"))
            describe(f"skill {shown(skill)}, LDS {shown(lds)}, over {folds} folds")
        return Simulator(simulator.path, dynamics=path, features=vectors.path, workspace=root), skill, lds

    def _patch(self, simulator: Simulator) -> tuple[tuple[str, ...], Path]:
        """The rows worse than the average row and suspicious besides, most suspicious first, and the table that they are written to."""
        with self.stage("rank") as describe:
            plain = simulator.influence("mean", how=CLOSED_FORM, progress=self.progress)
            ranked = held_against_the_average(plain, simulator.opened, self.options.fdr, progress=self.progress)
            cleaned = simulator.influence("mean", fdr=self.options.fdr, purpose=CLEANING, progress=self.progress)
            places = patch_places(ranked, cleaned, self.options.share)
            ids = tuple(ranked.pool[place].id for place in places)
            verdicts = ranked.rankings[0].verdicts
            harmful = 0 if verdicts is None else verdicts.count(HARMFUL)
            describe(
                f"{harmful} of {len(ranked.pool)} rows clearly worse than the average row, {len(ids)} of them in the patch"
            )
        table = self.space.root / "patch.csv"
        if ids:
            with written_whole(table) as part:
                part.write_text(patch_table(ranked, cleaned, places), encoding="utf-8")
            # The page offers it by this name.
            dropped = set(ids)
            self._keep_ids(WITHOUT_PATCH, [one.id for one in ranked.pool if one.id not in dropped])
        return ids, table

    def _keep_ids(self, name: str, ids: list[str]) -> Path:
        """Write a subset into the workspace, an id on each line."""
        path = self.space.root / name
        with written_whole(path) as part:
            part.write_text("".join(f"{written_id(one)}\n" for one in ids), encoding="utf-8")
        return path

    def _verified(
        self, simulator: Simulator, plan: DoctorPlan, patch: tuple[str, ...], table: Path
    ) -> Mapping[str, Any] | None:
        """Pairs of trainings without the patch and without as many random rows, unless they are there already."""
        root, execution, seed = self.space.root, self.options.execution, self.options.execution.seed
        ids = [one.id for one in simulator.opened.recording.dynamics.pool]
        others = [one for one in ids if one not in set(patch)]
        drawn = generator(seed, Stream.RANDOM_SUBSETS).permutation(len(others))[: len(patch)]
        lost = {others[int(place)] for place in drawn}
        key = fingerprint(simulator.key, list(patch), sorted(lost), plan.pairs, seed)
        target = root / f"doctor-{key[:8]}.verified.json"
        with self.stage("verify") as describe:
            known = read_verification(target)
            if known is None:
                kept = [one for one in ids if one not in lost]
                control = self._keep_ids(f"without-{len(patch)}-random.txt", kept)
                asked = make(
                    VerifyOptions,
                    drop=table,
                    against=control,
                    orders=plan.pairs,
                    output=target,
                    model=self.options.model,
                    **{name: getattr(execution, name) for name in ("device", "executor", "executor_set")},
                    seed=seed,
                )
                verify_with(asked, progress=self.progress, opened=simulator.opened)
                known = read_verification(target)
            describe(f"{plan.pairs} pairs: without the patch, and without {len(patch)} random rows")
        paired: Mapping[str, Any] | None = None if known is None else known["paired"]
        return paired

    def _applied(self, table: Path, patch: tuple[str, ...]) -> Path:
        """The rows written back without the patch, unless they are there already."""
        target = self.space.root / f"patch-{fingerprint(list(patch))[:8]}"
        with self.stage("apply") as describe:
            if not target.exists():
                recording = self.space.dynamics_path(NAME)
                apply_with(
                    make(ApplyOptions, data=self.options.train, drop=table, dynamics=recording, output=target),
                    progress=self.progress,
                )
            describe(str(target))
        return target


def as_document(found: DoctorResult) -> dict[str, Any]:
    """What it came to, for programs."""
    return {
        "verdict": found.verdict,
        "patch": list(found.patch),
        "paired": None if found.paired is None else dict(found.paired),
        "skill": found.skill,
        "lds": found.lds,
        "report": None if found.report is None else str(found.report),
        "applied": None if found.applied is None else str(found.applied),
        "runs": found.plan.runs,
        "pairs": found.plan.pairs,
        "notes": list(found.notes),
    }
