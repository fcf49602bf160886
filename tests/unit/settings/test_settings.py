from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskaware.errors import ExperimentError
from taskaware.settings import describe, dump, from_mapping, load, to_mapping
from taskaware.settings.toml_text import key_lines
from taskaware.settings.typed import require_valid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One corpus.

    Attributes:
        path: Its folder.
        weight: How often it is sampled, relative to the others.
    """

    path: Path
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate.

    Attributes:
        kind: Its shape.
        warmup_updates: Updates until the peak.
    """

    kind: Literal["noam", "constant"] = "noam"
    warmup_updates: int = 16000


@dataclass(frozen=True, kw_only=True)
class Model:
    """The sizes of the Transformer (paper, Table 8).

    Attributes:
        preset: Sizes by name; what is set beside it wins.
        d_model: Width of the residual stream,
            in units.
        num_heads: Attention heads.
        dropout: Probability, all places.
        schedule: When to learn how fast.
    """

    preset: str = ""
    d_model: int = 512
    num_heads: int = 8
    dropout: float = 0.1
    schedule: Schedule = field(default_factory=Schedule)

    @classmethod
    def presets(cls) -> Mapping[str, Mapping[str, Any]]:
        return {"tiny": {"d_model": 64, "num_heads": 2, "schedule": {"warmup_updates": 10}}}

    def validate(self) -> Iterator[tuple[str, str]]:
        if self.d_model % self.num_heads:
            message = f"must be a multiple of num_heads ({self.num_heads}), but is {self.d_model}"
            yield "d_model", message


@dataclass(frozen=True, kw_only=True)
class Order:
    """Of a gradient.

    Attributes:
        order: First or second.
    """

    order: Literal[1, 2] = 1


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment.

    Attributes:
        name: What it is called.
        seed: Where randomness starts.
        folder: Where it is written.
        verbose: Whether to say more.
        betas: Of Adam.
        tasks: Names.
        weights: Of tasks.
        corpora: What to train on.
        model: The model.
        average: The schedule of averaging, if any.
    """

    name: str = "run"
    seed: int | None = 1
    folder: Path = Path("runs")
    verbose: bool = False
    betas: tuple[float, float] = (0.9, 0.997)
    tasks: tuple[str, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    corpora: tuple[Corpus, ...] = ()
    model: Model = field(default_factory=Model)
    average: Schedule | None = None


EXAMPLE = """\
# An experiment.
name = "first"
weights.asr = 2
tasks = [
    "asr",
    "st",
]

[model]
d_model = 256  # a comment = with [signs]
schedule = { kind = "constant" }

[[corpora]]
path = "a"

[[corpora]]
path = '''b'''
weight = 3
"""


def read(text: str, *overrides: str, cls: Any = Experiment) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.toml"
        path.write_text(text, encoding="utf-8", newline="")
        try:
            return load(cls, path, overrides)
        except ExperimentError as error:
            raise ExperimentError(str(error).replace(f"{folder}/", "")) from error


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ExperimentError) as caught:
        read(text, *overrides)
    return str(caught.value).splitlines()


def test_a_file_becomes_typed_nested_settings() -> None:
    assert read(EXAMPLE) == Experiment(
        name="first",
        tasks=("asr", "st"),
        weights={"asr": 2.0},
        model=Model(d_model=256, schedule=Schedule(kind="constant")),
        corpora=(Corpus(path=Path("a")), Corpus(path=Path("b"), weight=3.0)),
    )
    assert isinstance(read(EXAMPLE).weights["asr"], float)


def test_an_empty_file_gives_the_defaults() -> None:
    assert read("") == Experiment()


def test_the_text_none_stands_for_none() -> None:
    settings = read('seed = "none"\naverage = "none"')
    assert settings.seed is None
    assert settings.average is None
    assert read("[average]").average == Schedule()


def test_overrides_win_over_the_file_and_are_parsed_as_toml_or_text() -> None:
    overrides = ["model.d_model=128", "name=2024", "tasks=['mt']", "average.kind=constant"]
    settings = read(EXAMPLE, *overrides, "folder = a/b=c", "seed=none", "model.dropout=1e-1")
    assert settings.model.d_model == 128
    assert settings.model.schedule.kind == "constant"
    assert settings.name == "2024"
    assert settings.tasks == ("mt",)
    assert settings.average == Schedule(kind="constant")
    assert settings.folder == Path("a/b=c")
    assert settings.seed is None
    assert settings.model.dropout == 0.1


def test_an_override_cannot_smuggle_in_a_second_key() -> None:
    assert read("", "name=1\nseed = 7") == Experiment(name="1\nseed = 7")
    with pytest.raises(ExperimentError, match=r"model\.d_model must be a whole number"):
        read("", "model.d_model=1\nseed = 7")


def test_a_preset_lies_below_what_the_file_sets() -> None:
    model = read('[model]\npreset = "tiny"\nnum_heads = 4').model
    assert model == Model(
        preset="tiny", d_model=64, num_heads=4, schedule=Schedule(warmup_updates=10)
    )
    assert read("", "model.preset=tiny").model.d_model == 64
    with_own = read('[model]\npreset = "tiny"\nschedule.kind = "constant"').model
    assert with_own.schedule == Schedule(kind="constant", warmup_updates=10)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("x = 1", [], "e.toml, line 1: x is not a known key; the known keys are name, seed, "),
        (
            "\n[model]\nnum_head = 1",
            [],
            "e.toml, line 3: model.num_head is not a known key (did you mean 'num_heads'?)",
        ),
        (
            "[model]\nd_model = '8'",
            [],
            "line 2: model.d_model must be a whole number, but is '8' (t",
        ),
        (
            "[model]\nd_model = true",
            [],
            "line 2: model.d_model must be a whole number, but is true",
        ),
        ("[model]\nd_model = 8.0", [], "line 2: model.d_model must be a whole number, but is 8.0"),
        (
            "[model]\ndropout = '.1'",
            [],
            "line 2: model.dropout must be a number, but is '.1' (text)",
        ),
        ("[model]\ndropout = true", [], "line 2: model.dropout must be a number, but is true"),
        ("verbose = 1", [], "line 1: verbose must be true or false, but is 1"),
        ("name = 1", [], "line 1: name must be text, but is 1"),
        ("seed = 'x'", [], "line 1: seed must be a whole number, but is 'x'"),
        ("tasks = 'asr'", [], "line 1: tasks must be a list, each text, but is 'asr'"),
        ("tasks = [\n 'a',\n 1]", [], "line 1: tasks[1] must be text, but is 1"),
        ("betas = [1]", [], "line 1: betas must be a list of 2, each a number, but is [1]"),
        ("model = 3", [], "line 1: model must be a table, but is 3"),
        ("weights.a = 'x'", [], "line 1: weights.a must be a number, but is 'x'"),
        ("[[corpora]]\n\n[[corpora]]\npath='a'", [], "line 1: corpora[0].path must be set: a path"),
        (
            "[[corpora]]\npath='a'\n[[corpora]]\npath='a'\n\nweight='a'",
            [],
            "line 6: corpora[1].weight must be a number, but is 'a'",
        ),
        (
            "[model.schedule]\nkind = 'constnat'",
            [],
            "line 2: model.schedule.kind must be one of 'noam', 'constant', but is 'constnat' "
            "(did you mean 'constant'?)",
        ),
        (
            "[model]\n\nschedule = { kind = 'x' }",
            [],
            "line 3: model.schedule.kind must be one of 'noam', 'constant', but is 'x'",
        ),
        (
            "[model]\npreset = 'tini'",
            [],
            "line 2: model.preset must be one of 'tiny', but is 'tini' (did you mean 'tiny'?)",
        ),
        (
            "[model]\nnum_heads = 7",
            [],
            "line 1: model.d_model must be a multiple of num_heads (7), but is 512",
        ),
        (
            "[model]\nd_model = 100\n",
            ["model.num_heads=3"],
            "line 2: model.d_model must be a multiple of num_heads (3), but is 100",
        ),
        ("", ["model.dmodel=1"], "override 'model.dmodel=1': model.dmodel is not a known key (did"),
        (
            "",
            ["modle.d_model=1"],
            "override 'modle.d_model=1': modle is not a known key (did you m",
        ),
        (
            "",
            ["model.d_model=x"],
            "override 'model.d_model=x': model.d_model must be a whole number",
        ),
        ("name='a'", ["name.x=1"], "override 'name.x=1': name must be a table, but is 'a'"),
        ("", ["seed"], "override 'seed': must be a dotted key, an equals sign and a value"),
        ("a = 1\nb = = 2", [], "e.toml, line 2, column 5: not valid TOML: Invalid value"),
        ("a = 1\nb =\n", [], "e.toml, line 2, column 4: not valid TOML: Invalid value"),
        ('a = "x', [], "e.toml, line 1: not valid TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, overrides: list[str], message: str) -> None:
    (found,) = problems(text, *overrides)
    assert message in found
    assert found.startswith(("e.toml", "override"))


def test_true_is_not_the_choice_1() -> None:
    assert read("order = 2", cls=Order) == Order(order=2)
    with pytest.raises(ExperimentError, match="order must be one of 1, 2, but is true"):
        read("order = true", cls=Order)


def test_all_mistakes_are_reported_at_once() -> None:
    found = problems("seed = 'x'\nnmae = 'y'\n[model]\nd_model = 1.5", "verbose=maybe")
    places = {re.match(r".*?: \S+", problem)[0] for problem in found}  # type: ignore[index]
    assert places == {
        "e.toml, line 1: seed",
        "e.toml, line 2: nmae",
        "e.toml, line 4: model.d_model",
        "override 'verbose=maybe': verbose",
    }


def test_a_missing_or_unreadable_file_is_an_experiment_error(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="there is no such file"):
        load(Experiment, tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ExperimentError, match="UTF-8"):
        load(Experiment, tmp_path / "latin.toml")


def test_problems_of_a_mapping_begin_with_where_it_came_from() -> None:
    with pytest.raises(ExperimentError, match=r"^config\.json: model\.d_model must be a whole"):
        from_mapping(Experiment, {"model": {"d_model": None}}, where="config.json")


def test_lines_of_keys_are_found_under_any_spelling() -> None:
    text = 'a.b = """\nc = 1\n"""\r\n"d e" = [\n{ f = 1 },\n]\n[[g.h]]\n[g.h.i]\nj=1\n[[g.h]]\nk=1'
    lines = key_lines(text)
    assert lines["a", "b"] == 1
    assert ("c",) not in lines
    assert lines["d e", 0, "f"] == 4
    assert lines["g", "h", 0, "i", "j"] == 9
    assert lines["g", "h", 1] == 10
    assert lines["g", "h", 1, "k"] == 11


def test_lines_of_keys_are_found_in_any_depth() -> None:
    assert len(key_lines("[" + ".".join("a" * 1500) + "]\nb = 1")) == 1501


INTEGERS = (-(1 << 63), (1 << 63) - 1)  # those of 64 bits, which TOML promises


@pytest.mark.parametrize(
    "seed", [INTEGERS[0] - 1, INTEGERS[1] + 1, 10**5000], ids=["below", "above", "of many digits"]
)
def test_a_whole_number_of_more_than_64_bits_is_refused_wherever_it_comes_from(seed: int):
    with pytest.raises(
        ExperimentError, match=r"seed must be a number from -9223372036854775808 to"
    ):
        from_mapping(Experiment, {"name": "a", "seed": seed})
    with pytest.raises(ExperimentError, match=r"seed must be a number from"):
        require_valid(Experiment(name="a", seed=seed))


# No surrogates: they cannot be written as UTF-8.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)
schedules = st.builds(Schedule, kind=st.sampled_from(["noam", "constant"]))
experiments = st.builds(
    Experiment,
    name=words,
    seed=st.none() | st.integers(*INTEGERS),
    folder=st.builds(Path, words.filter(lambda word: "\0" not in word)),
    verbose=st.booleans(),
    betas=st.tuples(numbers, numbers),
    tasks=st.lists(words, max_size=3).map(tuple),
    weights=st.dictionaries(words, numbers, max_size=3),
    corpora=st.lists(
        st.builds(Corpus, path=st.just(Path("a b/ü")), weight=numbers), max_size=2
    ).map(tuple),
    model=st.builds(
        Model, preset=st.sampled_from(["", "tiny"]), dropout=numbers, schedule=schedules
    ),
    average=st.none() | schedules,
)


@given(experiments)
def test_what_is_dumped_loads_back_equal(settings: Experiment) -> None:
    assert read(dump(settings)) == settings
    plain = json.loads(json.dumps(to_mapping(settings)))
    assert from_mapping(Experiment, plain) == settings


def test_the_template_documents_every_field_and_loads_to_the_defaults() -> None:
    template = describe(Experiment)
    assert read(template) == Experiment()
    assert (
        "# Width of the residual stream, in units. (a whole number)\n# d_model = 512\n" in template
    )
    assert "# Where randomness starts. (a whole number, or 'none')\nseed = 1\n" in template
    assert "Presets: tiny." in template
    assert "\n# [[corpora]]\n" in template


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often.

    Attributes:
        every: Updates between two.
        rates: Of each.
        share: Of all.
    """

    every: int | Literal["auto"] = "auto"
    rates: dict[str, float] = field(default_factory=dict)
    share: float | None = None


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "+nan"])
@pytest.mark.parametrize("place", ["share={}", "rates.a={}", "rates={{ a = {} }}"])
def test_every_number_is_finite_wherever_it_stands(number: str, place: str):
    with pytest.raises(ExperimentError, match=r"must be a finite number, but is -?(nan|inf)"):
        load(Pace, None, [place.format(number)])


def test_a_number_or_a_word_is_either_and_nothing_else(tmp_path: Path):
    assert load(Pace, None, ["every=7"]).every == 7
    assert load(Pace, None, ["every=auto"]).every == "auto"
    for text in ("often", "1.5", "true", "none", "[1]"):
        with pytest.raises(ExperimentError, match=r"every must be a whole number, or 'auto', but"):
            load(Pace, None, [f"every={text}"])
    path = tmp_path / "pace.toml"
    path.write_text(dump(Pace(every=3)))
    assert load(Pace, path) == Pace(every=3)
    assert 'every = "auto"' in describe(Pace)


def test_an_object_made_in_python_is_checked_as_one_that_is_read():
    require_valid(Experiment(model=Model(d_model=64)))
    wrong = Experiment(betas=(float("nan"), 0.9), model=Model(d_model=100))
    with pytest.raises(
        ExperimentError, match=r"(?s)mine: betas\[0\].*finite.*mine: model\.d_model"
    ):
        require_valid(wrong, where="mine")


@pytest.mark.parametrize("said", ["9" * 5000, 1, None, ["a"]])
def test_what_is_no_table_is_refused_in_few_words(said: Any):
    with pytest.raises(ExperimentError, match="must be a table, but is") as caught:
        from_mapping(Model, said)
    assert len(str(caught.value)) < 200


def test_of_very_many_mistakes_the_first_are_told():
    with pytest.raises(ExperimentError, match="and 950 more") as caught:
        from_mapping(Model, {f"x{number}": 1 for number in range(1000)})
    assert len(str(caught.value).splitlines()) == 51


def test_a_list_too_long_for_a_line_stands_on_several_and_is_read_back() -> None:
    settings = Experiment(tasks=tuple(f"task number {i}, 'quoted' \"twice\"" for i in range(40)))
    text = dump(settings)
    assert max(map(len, text.splitlines())) <= 100
    assert read(text) == settings
    # ...and what follows is still found on its own line.
    wrong = text.replace('name = "', 'nam = "', 1)
    assert problems(wrong)[0].startswith("e.toml, line 1: nam ")
