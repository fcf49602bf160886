"""A study, whole: its runs, its table; stopped, killed, shared among commands, found again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from taskaware.cli.main import run as taskaware
from taskaware.data.embedded.settings import EmbeddedCorpusSettings
from taskaware.data.prepared import PreparedData
from taskaware.errors import CheckpointError
from taskaware.run import experiment as experiment_file
from taskaware.study import settings as study_file
from taskaware.study.collect import collect
from taskaware.study.job import do_job, read_status
from taskaware.study.plan import make_plan
from taskaware.study.scheduler import make_data
from taskaware.study.settings import DataSource
from tiny_corpus import prepare_corpus, tiny_experiment

STUDIES = Path(__file__).resolve().parents[2] / "studies"
TIMED = ("seconds", "decoding_seconds", "peak_memory_mib", "machine", "versions", "data", "command")
STUDY = """
name = "toy"
title = "Toy"
question = "Does it run?"
curves = ["implicit"]

[sizes.tiny]
experiment = "toy_experiment.toml"
seeds = [1, 2]

[sizes.tiny.data.main]
folder = "DATA"
how = "Make it with: taskaware prepare"

[sizes.tiny.groups]
short = ["training.updates=2"]

[[runs]]
name = "vanilla"
overrides = ["model.conditioning.cue=none"]

[[runs]]
name = "then_st"
start = "vanilla"
tasks = ["st_en_de"]
group = "short"
overrides = ["model.conditioning.cue=none", "start.retention.method=replay"]

[[runs]]
name = "implicit"
support_examples = [1]

[[rows]]
label = "vanilla"
run = "vanilla"

[[rows]]
label = "fine-tuned"
runs = { st_en_de = "then_st" }
against = "vanilla"
paper = { st = "25.99" }

[[rows]]
label = "implicit"
run = "implicit"
against = "vanilla"

[[rows]]
label = "implicit, best a task"
run = "implicit"
which = "taskwise"

[[rows]]
label = "implicit, average"
run = "implicit"
which = "average"

[[rows]]
label = "told by one example"
run = "implicit"
which = "support-1"

[[matrices]]
label = "vanilla, then speech translation"
stages = ["vanilla", "then_st"]

[[embeddings]]
title = "Tasks"
run = "implicit"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def study(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    (folder / "toy_experiment.toml").write_text(experiment_file.dump(tiny_experiment(data)))
    path = folder / "toy.toml"
    path.write_text(STUDY.replace("DATA", str(data)))
    return path


@pytest.fixture(scope="module")
def whole(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that was never interrupted."""
    root = tmp_path_factory.mktemp("whole")
    assert taskaware(["study", str(study), "--jobs", "2", "--to", str(root)]) == 0
    return root


def results(root: Path) -> dict:
    """Return what the study found, without what depends on the clock and the machine."""

    def timeless(content):
        if isinstance(content, dict):
            return {name: timeless(value) for name, value in content.items() if name not in TIMED}
        return [timeless(value) for value in content] if isinstance(content, list) else content

    (path,) = root.glob("toy-tiny*/results.json")
    return timeless(json.loads(path.read_text()))


def plan(study: Path, root: Path, **changes):
    return make_plan(study_file.load(study), study, "tiny", root, **changes)


# --- what it leaves ---


def test_a_study_leaves_a_table_in_four_forms_and_its_figures(whole: Path):
    folder = whole / "toy-tiny"
    table = (folder / "table.md").read_text()
    for label in ("vanilla", "fine-tuned", "implicit", "told by one example", "25.99"):
        assert label in table
    assert (folder / "table.csv").read_text().count("\n") > 20
    assert "<script" not in (folder / "report.html").read_text()
    figures = {path.suffix for path in (folder / "figures").iterdir()}
    assert figures == {".svg", ".png"}


def test_a_row_has_every_task_that_its_runs_were_scored_on(whole: Path):
    rows = {row["label"]: row for row in results(whole)["rows"]}
    tasks = ["asr_en", "st_en_de", "mt_en_de"]
    assert list(rows["fine-tuned"]["cells"]) == ["st_en_de"]
    for label in rows.keys() - {"fine-tuned"}:
        assert list(rows[label]["cells"]) == tasks
    assert all(len(cell["values"]) == 2 for row in rows.values() for cell in row["cells"].values())
    assert len(rows["implicit"]["cells"]["asr_en"]["p_values"]) == 2
    assert rows["vanilla"]["cells"]["asr_en"]["p_values"] == []
    assert rows["implicit"]["task_parameters"] > 0 == rows["vanilla"]["task_parameters"]
    assert len(rows["implicit"]["silhouettes"]) == 2
    assert rows["implicit, best a task"]["num_models"] == 3


def test_a_row_says_what_a_task_alone_needs_and_what_its_models_take_on_disk(whole: Path):
    found = json.loads((whole / "toy-tiny" / "results.json").read_text())
    rows = {row["label"]: row for row in found["rows"]}
    one, three = rows["implicit"], rows["implicit, best a task"]
    assert one["parameters_of_one_task"] == 0  # the task network is shared
    assert three["parameters_of_one_task"] == sum(three["parameters"].values())
    assert one["num_bytes"] > 4 * sum(one["parameters"].values())
    assert three["num_bytes"] == pytest.approx(3 * one["num_bytes"], rel=0.01)
    assert all(len(row["decoding_seconds"]) == 2 for row in rows.values())
    assert all(seconds > 0 for row in rows.values() for seconds in row["decoding_seconds"])


def test_updates_and_time_of_a_fine_tuned_row_include_its_start(whole: Path):
    found = json.loads((whole / "toy-tiny" / "results.json").read_text())
    rows = {row["label"]: row for row in found["rows"]}
    assert (rows["vanilla"]["updates"], rows["fine-tuned"]["updates"]) == (6, 8)
    assert rows["fine-tuned"]["seconds"][0] > rows["vanilla"]["seconds"][0] > 0
    assert rows["vanilla"]["peak_memory_mib"] > 10


def test_the_forgetting_matrix_scores_every_task_after_every_stage(whole: Path):
    (matrix,) = results(whole)["matrices"]
    assert matrix["stages"] == ["vanilla", "then_st"]
    assert matrix["trained"] == [["asr_en", "st_en_de", "mt_en_de"], ["st_en_de"]]
    for stage in matrix["points"]:
        assert list(stage) == ["asr_en", "st_en_de", "mt_en_de"]
    before, after = matrix["points"]
    lost = [
        sum(before[task][seed] - after[task][seed] for task in ("asr_en", "mt_en_de")) / 2
        for seed in (0, 1)
    ]
    assert matrix["average_forgetting"] == pytest.approx(lost)


# --- interrupted, shared, found again ---


def start(study: Path, root: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "taskaware", "study", study, "--to", root, *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for_training(study: Path, root: Path, process: subprocess.Popen) -> None:
    """Wait until some run has done an update and is not complete."""
    jobs = plan(study, root).jobs
    for _ in range(3600):
        if any(read_status(job).state in ("training", "scoring") for job in jobs):
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    raise AssertionError("no run began")


@pytest.mark.parametrize("how_often", [1, 3])
def test_a_study_that_was_killed_finds_what_one_that_never_was_finds(
    how_often: int, study: Path, whole: Path, tmp_path: Path
):
    for _ in range(how_often):
        process = start(study, tmp_path, "--jobs", "2")
        wait_for_training(study, tmp_path, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert taskaware(["study", str(study), "--to", str(tmp_path)]) == 0
    assert results(tmp_path) == results(whole)


def test_ctrl_c_stops_a_study_with_the_command_that_goes_on(
    study: Path, whole: Path, tmp_path: Path
):
    process = start(study, tmp_path)
    wait_for_training(study, tmp_path, process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130
    assert b"Resume with: taskaware study" in output
    assert b"Traceback" not in output
    assert taskaware(["study", str(study), "--to", str(tmp_path)]) == 0
    assert results(tmp_path) == results(whole)


def test_a_scheduler_stops_a_study_with_an_exit_code_of_its_own(study: Path, tmp_path: Path):
    process = start(study, tmp_path)
    wait_for_training(study, tmp_path, process)
    os.kill(process.pid, signal.SIGTERM)  # to the first process alone; it tells the others
    output, _ = process.communicate(timeout=240)
    assert (process.returncode, b"Traceback" in output) == (75, False)
    assert b"Resume with: taskaware study" in output


def test_two_commands_divide_a_study_between_them(study: Path, whole: Path, tmp_path: Path):
    processes = [start(study, tmp_path) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    assert results(tmp_path) == results(whole)
    for log in (tmp_path / "store").glob("*/log.jsonl"):
        updates = [json.loads(line)["update"] for line in log.read_text().splitlines()]
        assert updates == sorted(updates)


def test_a_finished_study_is_not_done_again(study: Path, whole: Path):
    store = whole / "store"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    assert taskaware(["study", str(study), "--to", str(whole)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


def test_another_study_finds_a_run_under_another_name(study: Path, whole: Path):
    path = study.with_name("other.toml")
    path.write_text(study.read_text().replace('"vanilla"', '"no_cue"'))
    own, other = plan(study, whole), plan(path, whole)
    assert other.job("no_cue", 1).folder == own.job("vanilla", 1).folder
    assert other.job("then_st", 2).is_complete


def test_what_matters_makes_another_run_and_what_does_not_makes_none(study: Path, whole: Path):
    def folders(*overrides: str) -> dict[str, Path]:
        jobs = plan(study, whole, overrides=overrides).jobs
        return {job.name: job.folder for job in jobs if job.seed == 1}

    own = folders()
    assert folders("training.log_every=7", "training.num_threads=2") == own
    assert not set(folders("optimiser.beta2=0.9").values()) & set(own.values())


def test_a_run_is_another_where_what_it_starts_from_is(study: Path, whole: Path):
    path = study.with_name("start.toml")
    cue = '"model.conditioning.cue=none"]'
    path.write_text(study.read_text().replace(cue, cue[:-1] + ', "optimiser.beta2=0.9"]', 1))
    own, other = plan(study, whole), plan(path, whole)
    assert (
        other.job("then_st", 1).experiment.optimiser == own.job("then_st", 1).experiment.optimiser
    )
    assert other.job("then_st", 1).folder != own.job("then_st", 1).folder
    assert other.job("implicit", 1).folder == own.job("implicit", 1).folder


def test_a_job_that_another_process_holds_is_left_to_it(study: Path, tmp_path: Path):
    from filelock import FileLock

    job = plan(study, tmp_path).job("vanilla", 1)
    job.folder.mkdir(parents=True)
    with FileLock(job.folder / ".lock"):
        assert do_job(job) == "locked"
    assert do_job(job) == "complete"


@pytest.mark.parametrize("lost", ["taskwise", "taskwise/asr_en", "average"])
def test_a_model_that_is_lost_is_never_scored_as_another(
    lost: str, study: Path, whole: Path, tmp_path: Path
):
    shutil.copytree(whole, tmp_path / "all")
    variant = lost.split("/")[0]
    job = plan(study, tmp_path / "all").job("implicit", 1)
    job.result_path(variant).unlink()
    shutil.rmtree(job.folder / lost)
    with pytest.raises(CheckpointError, match=f"must have a model '{variant}"):
        do_job(job)
    assert not job.result_path(variant).exists()


def test_the_seeds_that_are_finished_make_a_table(study: Path, whole: Path):
    three = plan(study, whole, seeds=(1, 2, 3))
    found = collect(three, command="")
    assert found.seeds == (1, 2)


@pytest.mark.slow
def test_all_processes_of_torchrun_train_every_run_together(study: Path, tmp_path: Path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", "-m", "taskaware", "study", study, "--to", tmp_path, "--seeds", "1"]
    done = subprocess.run(
        command, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path)["rows"]) == 6
    states = [
        json.loads(p.read_text()) for p in (tmp_path / "store").glob("*/checkpoints/*/state.json")
    ]
    assert {state["num_ranks"] for state in states} == {2}


# --- what is refused ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--size", "tinny"), "tinny.*did you mean 'tiny'"),
        (("training.updats=3",), "updats.*did you mean 'updates'"),
    ],
)
def test_a_wrong_request_says_what_is_right(
    change, message: str, study: Path, tmp_path: Path, capfd
):
    assert taskaware(["study", str(study), "--to", str(tmp_path), *change]) == 2
    assert re.search(message, capfd.readouterr().err)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('start = "vanilla"', 'start = "vanila"', "vanila.*did you mean 'vanilla'"),
        ('run = "implicit"\nwhich', 'run = "implict"\nwhich', "implict.*did you mean 'implicit'"),
        ('against = "vanilla"', 'against = "vanill"', "vanill.*did you mean 'vanilla'"),
        ('name = "then_st"', 'name = "vanilla"', "different names"),
    ],
)
def test_a_wrong_study_file_names_what_is_wrong(
    old: str, new: str, message: str, study: Path, tmp_path: Path, capfd
):
    path = tmp_path / "wrong.toml"
    path.write_text(study.read_text().replace(old, new, 1))
    assert taskaware(["study", str(path), "--to", str(tmp_path)]) == 2
    assert re.search(message, capfd.readouterr().err)


def test_data_that_are_not_there_are_told_how_they_are_made(study: Path, tmp_path: Path, capfd):
    path = study.with_name("nowhere.toml")
    path.write_text(re.sub(r'folder = ".*"', 'folder = "nowhere"', study.read_text()))
    assert taskaware(["study", str(path), "--to", str(tmp_path)]) == 1
    assert "Make it with: taskaware prepare" in capfd.readouterr().err


def test_a_run_that_fails_is_named_and_the_others_are_done(study: Path, tmp_path: Path, capfd):
    path = study.with_name("failing.toml")
    group = 'short = ["training.updates=2"]'
    far_too_fast = 'short = ["training.updates=2", "optimiser.learning_rate=1e30"]'
    path.write_text(study.read_text().replace(group, far_too_fast))
    arguments = ["study", str(path), "--to", str(tmp_path), "--seeds", "1"]
    assert taskaware(arguments) == 1
    error = capfd.readouterr().err
    assert "then_st-seed1" in error
    assert "finite" in error
    jobs = plan(path, tmp_path, seeds=(1,))
    assert jobs.job("implicit", 1).is_complete


# --- the studies that come with it ---


def test_what_dev_or_test_have_as_well_is_left_out_of_a_corpus_that_the_study_makes(
    study: Path, tmp_path: Path
):
    # Turkish has one word for he, she and it: different English sentences have one translation.
    corpus = EmbeddedCorpusSettings(
        languages=("tr", "de"),  # German, as the study asks for it
        num_train_sentences=400,
        num_dev_sentences=50,
        num_test_sentences=220,
        lexicon_share=0.2,
        max_words=5,
    )
    opened = study_file.load(study)
    size = replace(
        opened.sizes["tiny"], data={"main": DataSource(embedded=corpus, vocabulary_size=350)}
    )
    made = make_plan(replace(opened, sizes={"tiny": size}), study, "tiny", tmp_path)
    make_data(made)
    data = PreparedData.open(made.data_folders["main"])
    texts = {
        split: {
            example.target_text
            for example in data.split(split).examples
            if example.task == "st_en_tr" and len(example.target_text.split()) >= 4
        }
        for split in ("train", "dev", "test")
    }
    assert len(texts["test"]) > 10
    assert 300 < data.split("train").num_examples("st_en_tr") < 400
    assert not texts["train"] & (texts["dev"] | texts["test"])


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_study_is_read_and_its_runs_are_experiments(path: Path, tmp_path: Path):
    described = study_file.load(path)
    for name, size in described.sizes.items():
        if all(source.embedded is not None for source in size.data.values()):
            jobs = make_plan(described, path, name, tmp_path).jobs
            assert len({job.folder for job in jobs}) == len(jobs)
