"""Who may import whom, what the package offers, and what the command line loads at its start."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import taskaware

ROOT = Path(taskaware.__file__).parent
LEAVES = {"types", "errors", "toml_text"}
GROUND = {"types", "errors", "settings", "files", "output_folder"}
ROOMS = {"data", "model", "training", "decoding", "evaluation"}

# What each room, and each module above the rooms, may import besides itself. An import that only
# a type checker sees is free: it orders nothing. Nobody may import the command line.
ALLOWED: dict[str, set[str]] = {
    **{leaf: set() for leaf in LEAVES},
    "settings": {"errors", "toml_text"},
    "output_folder": {"errors"},
    "files": {"errors"},
    "data": GROUND,
    "model": GROUND,
    "training": GROUND | {"model"},
    "decoding": GROUND | {"model"},
    "evaluation": GROUND | {"data", "decoding"},
    "experiment": {"settings", *ROOMS},
    "sources": GROUND | {"data"},
    "idle_settings": GROUND | {"experiment", "toml_text"},
    "run_checks": GROUND | ROOMS | {"experiment", "idle_settings"},
    "run_files": GROUND,
    "run_folder": GROUND | {"taskaware", "experiment", "decoding", "data", "run_files"},
    "run_log": GROUND,
    "run_lock": GROUND,
    "run_data": GROUND,
    "run_resume": GROUND | {"taskaware", "training", "run_data"},
    "run_finish": GROUND | {"training", "inference"},
    "model_folder": GROUND | {"data", "model", "decoding", "training"},
    "inference": GROUND | {"data", "model", "decoding", "training", "sources", "model_folder"},
    "pretrained": GROUND | {"taskaware", "data", "model", "decoding", "inference"},
    "run_validation": GROUND | ROOMS | {"inference"},
    "run_models": GROUND | ROOMS | {"inference", "model_folder", "run_data"},
    "run_start": GROUND | ROOMS | {"inference", "model_folder", "run_data"},
    "runs": GROUND
    | ROOMS
    | {
        *("taskaware", "experiment", "inference", "run_folder", "run_log", "run_start"),
        *("run_checks", "run_validation", "run_lock", "run_resume", "run_finish"),
    },
    "augment": GROUND | {"taskaware", "data", "inference", "decoding"},
    "machine": set(),
    "embedding_points": GROUND | ROOMS | {"inference"},
    "comparison": GROUND
    | ROOMS
    | {"taskaware", "inference", "run_log", "run_models", "runs", "embedding_points"},
    "study": GROUND
    | ROOMS
    | {
        *("taskaware", "experiment", "inference", "run_log", "run_models", "runs"),
        *("embedding_points", "machine", "run_lock"),
    },
    "launch": GROUND | ROOMS | {"experiment", "runs"},
    "demo": GROUND
    | ROOMS
    | {"experiment", "inference", "runs", "comparison", "launch", "embedding_points"},
    "cli": GROUND
    | ROOMS
    | {
        *("taskaware", "experiment", "sources", "inference", "runs", "comparison", "launch"),
        *("demo", "study", "run_models", "augment", "pretrained"),
    },
    "__main__": {"cli"},
    "taskaware": set(),  # its names are loaded when they are first used
}
# The experiment file is read before anything heavy is loaded, so it knows the settings alone.
SETTINGS_MODULES = {
    "settings",
    "data.augmentation_settings",
    "data.batching_settings",
    "decoding.scoring",
    "model.settings",
    "training.optimiser",
    "training.settings",
}


def module_name(path: Path) -> str:
    """``data.audio`` for ``data/sound/audio.py``; ``taskaware`` for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts) or "taskaware"


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported_modules(node: ast.AST) -> set[str]:
    """Return the modules of taskaware that this one statement imports."""
    match node:
        case ast.Import():
            names = [alias.name for alias in node.names]
        case ast.ImportFrom():
            assert not node.level, "relative imports hide what is imported"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        case _:
            return set()
    found = set()
    for name in names:
        package, _, inner = name.partition(".")
        if package != "taskaware":
            continue
        while inner and inner not in FILES:
            inner = inner.rpartition(".")[0]
        found.add(inner or "taskaware")
    return found


def imports_when_run(tree: ast.AST) -> set[str]:
    """Return what a module imports, in its functions too, but not for type checkers alone."""
    found = imported_modules(tree)
    for node in ast.iter_child_nodes(tree):
        if is_for_type_checkers(node):
            assert isinstance(node, ast.If)
            children: list[ast.AST] = [*node.orelse]
        else:
            children = [node]
        found = found.union(*(imports_when_run(child) for child in children))
    return found


def imports_anywhere(tree: ast.AST) -> set[str]:
    return set().union(*(imported_modules(node) for node in ast.walk(tree)))


def room(module: str) -> str:
    return module.partition(".")[0]


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
IMPORTS = {name: imports_when_run(tree) for name, tree in TREES.items()}


def cycle_in(imports: dict[str, set[str]]) -> list[str] | None:
    """Return modules that import one another in a circle, or ``None``."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_the_reader_of_imports_sees_functions_and_not_type_checking():
    source = """
import taskaware
from taskaware.data import audio
from taskaware.data.sound.audio import read
from taskaware import settings, __version__
if TYPE_CHECKING:
    from taskaware.run.run import Run
def late():
    if True:
        import taskaware.model.film
"""
    expected = {"taskaware", "data.audio", "settings", "model.film"}
    assert imports_when_run(ast.parse(source)) == expected
    assert imports_anywhere(ast.parse(source)) == expected | {"runs"}


def test_every_module_has_its_place_in_the_table():
    assert {room(name) for name in FILES} == set(ALLOWED)


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_module_imports_only_what_its_room_may(module: str):
    own = room(module)
    rooms = {room(name) for name in IMPORTS[module]}
    assert rooms - {own} <= ALLOWED[own]


@pytest.mark.parametrize("module", sorted(FILES))
def test_nobody_imports_the_command_line_not_even_its_types(module: str):
    if room(module) not in ("cli", "__main__"):
        assert "cli" not in {room(name) for name in imports_anywhere(TREES[module])}


def test_the_experiment_file_imports_settings_alone():
    assert IMPORTS["experiment"] <= SETTINGS_MODULES


def test_modules_import_one_another_in_no_circle_not_even_inside_functions():
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
    assert cycle_in(IMPORTS) is None


def test_the_public_names_are_exact():
    # A name is public where a type checker sees it, where it can be loaded and where it is listed.
    (block,) = (node for node in TREES["taskaware"].body if is_for_type_checkers(node))
    assert isinstance(block, ast.If)
    typed = {alias.name for node in block.body for alias in getattr(node, "names", [])}
    assert set(taskaware.__all__) == {*typed, "__version__"} == {*taskaware._HOME, "__version__"}
    assert taskaware.__all__ == sorted(taskaware.__all__)
    assert dir(taskaware) == taskaware.__all__


@pytest.mark.parametrize("name", taskaware.__all__)
def test_every_public_name_can_be_got(name: str):
    found = getattr(taskaware, name)
    if name != "__version__":
        assert found.__name__ == name


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Tasks'"):
        _ = taskaware.Tasks


def test_the_command_line_starts_without_the_heavy_libraries():
    code = (
        "import sys, taskaware.cli.main; "
        "print(*{'torch', 'numpy', 'sentencepiece', 'soundfile'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    assert result.stdout.split() == []
