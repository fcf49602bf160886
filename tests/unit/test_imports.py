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

# The floors of the house, from the ground up. A module may import from its own room and from rooms
# on the floors below it, never from another room of its own floor. Imports that only a type checker
# sees count as well: who reads a module must be able to read it without those above it.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("types", "errors", "version"),
    (
        "file_forms",
        "files",
        "held_memory",
        "large_pages",
        "signals",
        "threads",
        "data.hashes",
        "data.writing_systems",
    ),
    ("folder_exchange", "pipes", "output_record", "line_file"),
    ("settings", "output_folder"),
    ("data.vocabulary", "data.manifest", "data.sound", "model"),
    ("data.prepared", "data.embedded"),
    ("data.quality",),
    ("data.prepare", "data.batches", "data.corpora"),
    ("training", "decoding"),
    ("inference",),
    ("evaluation", "augment", "pretrained", "export", "serve"),
    ("run",),
    ("report",),
    ("study", "demo"),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FREE = {"taskaware", "data"}  # the packages themselves: their names load when they are first used


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
    """``data.sound`` for ``data.sound.audio``; ``training`` for ``training.loop``."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "data" else parts[0]


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
IMPORTS = {name: imports_when_run(tree) for name, tree in TREES.items()}
EVERY_IMPORT = {name: imports_anywhere(tree) for name, tree in TREES.items()}


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
from taskaware.data import vocabulary
from taskaware.data.sound.audio import read
from taskaware import settings, __version__
if TYPE_CHECKING:
    from taskaware.run.run import Run
def late():
    if True:
        import taskaware.model.film
"""
    expected = {"taskaware", "data.vocabulary", "data.sound.audio", "settings", "model.film"}
    assert imports_when_run(ast.parse(source)) == expected
    assert imports_anywhere(ast.parse(source)) == expected | {"run.run"}


def test_every_module_has_its_room_and_every_room_its_floor():
    assert {room(name) for name in FILES} - FREE == set(FLOOR)


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_go_down_the_types_included(module: str):
    own = room(module)
    if own in FREE:
        return
    others = {room(name) for name in EVERY_IMPORT[module]} - {own} - FREE
    assert {other for other in others if FLOOR[other] >= FLOOR[own]} == set()


def test_the_experiment_file_imports_settings_alone():
    others = {name for name in EVERY_IMPORT["run.experiment"] if not name.endswith(".settings")}
    assert others <= {"settings.typed", "types", "errors"}


@pytest.mark.parametrize("module", ["run.experiment", "study.settings", "augment.settings"])
def test_what_a_user_writes_in_toml_is_checked_before_torch_is_loaded(module: str):
    code = f"import sys, taskaware.{module}; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert result.stdout.strip() == "False"


def test_modules_import_one_another_in_no_circle_not_even_inside_functions():
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) is not None
    assert cycle_in(EVERY_IMPORT) is None


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
