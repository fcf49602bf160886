from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from made_up import HOSTILE, curves, embeddings, many_tasks, matrix, one_seed, rows, study

from html_page import Page
from taskaware.errors import MissingDependencyError, OutputError
from taskaware.study import figures
from taskaware.study.page import render_page
from taskaware.study.write import require_folder, write_all

if TYPE_CHECKING:
    from pathlib import Path


def test_a_page_runs_nothing_and_loads_nothing() -> None:
    html = render_page(study())
    page = Page(html)
    assert all(tag != "script" for tag, _ in page.tags)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html


def test_any_text_is_shown_as_text() -> None:
    row = replace(rows()[2], label=HOSTILE, note=HOSTILE, against=HOSTILE, paper={"x": HOSTILE})
    results = study(
        title=HOSTILE,
        question=HOSTILE,
        rows=(row,),
        matrices=(replace(matrix(), label=HOSTILE, stages=(HOSTILE, "b")),),
        embeddings=(embeddings(HOSTILE),),
        curves=curves(HOSTILE),
        signatures={HOSTILE: HOSTILE},
        provenance={HOSTILE: HOSTILE},
    )
    html = render_page(results)
    assert "<script" not in html
    assert "alert('x')" in Page(html).text


def test_the_main_table_marks_the_best_the_significant_and_the_confused() -> None:
    html = render_page(study())
    page = Page(html)
    best = '<td class="best" title="seed 1: 1.00; seed 2: 1.00; seed 3: 1.00">1.0'
    assert best + '<span class="unit"> ± 0.0</span><sup>†</sup>' in html
    assert html.count('class="best"') == 5
    assert '<small class="high">45' in html
    assert (
        "vanilla 50.0 ± 10.0 45 % confused 41.0 ± 1.0 40 % confused 99.0 ± 1.0 14.83" in page.text
    )
    assert "tag 1 3.0 ± 1.0 † 0 % confused" in page.text
    assert "speech alone 2.0 ± 0.0 – – – –" in page.text
    assert "against “vanilla”. A first token." in page.text


def test_a_page_says_what_it_is_and_shows_the_best_row_first() -> None:
    text = Page(render_page(study())).text
    assert "Synthetic data size small seeds 1, 2, 3 test split Does a cue help?" in text
    best = "Most points over all tasks: implicit asr_en 1.0 ± 0.0 WER % ↓ st_en_de 90.0"
    assert best in text
    assert "average forgetting 60.0 ± 10.0 points" in text
    assert "machine two cores torch 2.11" in text
    assert "Synthetic" not in Page(render_page(one_seed())).text


def test_sections_without_contents_are_left_out() -> None:
    page = Page(render_page(one_seed()))
    assert not {"svg", "input"} & {tag for tag, _ in page.tags}
    for title in ("Forgetting", "Task embeddings", "Learning curves", "By corpus"):
        assert title not in page.text
    assert "±" not in page.text


def test_many_tasks_are_shown_by_kind() -> None:
    text = Page(render_page(many_tasks())).text
    assert "Model asr WER % ↓ st BLEU ↑" in text
    assert "60.0 ± 0.0 7 of 8 tasks" in text


def test_every_part_of_a_figure_has_a_tooltip_and_boxes_hide_it_without_a_script() -> None:
    html = render_page(study())
    for tooltip in ("asr_en, talks: 1 example", "vanilla, st_en_de, 2 at the end", "not scored"):
        assert f"<title>{tooltip}" in html or f"{tooltip}, trained here</title>" in html
    boxes = [attributes for tag, attributes in Page(html).tags if tag == "input"]
    assert [box["class"] for box in boxes] == ["t0", "t1", "d0", "d1", "t0", "t1"]
    for name in ("t0", "t1", "d0", "d1"):
        rule = f":has(input.{name}:not(:checked)) svg .{name} {{ display: none; }}"
        assert rule in html
        assert re.search(rf'<g class="mark [^"]*\b{name}\b', html)


def shown_files(folder: Path) -> list[Path]:
    """All files but those that say who wrote the others."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".taskaware")
    ]


def test_a_folder_holds_all_forms_and_no_half_file(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    written = write_all(study(), folder)
    names = sorted(str(path.relative_to(folder)) for path in shown_files(folder))
    assert written.warning == ""
    assert sorted(str(path.relative_to(folder)) for path in written.paths) == names
    assert names == sorted(
        [
            *("results.json", "table.csv", "table.md", "report.html"),
            *(
                f"figures/{name}.{suffix}"
                for name in (
                    *("scores_1_asr", "embeddings_1_implicit", "forgetting_1_implicit"),
                    *("curves_1_asr_en", "curves_2_st_en_de"),
                )
                for suffix in ("svg", "png")
            ),
        ]
    )


def test_without_matplotlib_the_numbers_are_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MissingDependencyError("figures need matplotlib: pip install it")

    monkeypatch.setattr(figures, "new_figure", missing)
    written = write_all(study(), tmp_path)
    assert [path.name for path in written.paths] == ["results.json", "table.csv", "table.md"]
    assert written.warning == "figures are left out: figures need matplotlib: pip install it"


def test_a_figure_that_fails_leaves_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {path: path.read_bytes() for path in write_all(study(), tmp_path).paths}

    def fails(*_: object) -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr("taskaware.study.write.rendered", fails)
    with pytest.raises(OSError, match="disk full"):
        write_all(study(), tmp_path)
    assert {path: path.read_bytes() for path in shown_files(tmp_path)} == old


@pytest.mark.parametrize("other", [{"name": "a-b", "size": "c"}, {"name": "a", "size": "b"}])
def test_the_table_of_another_study_is_not_written_over(other: dict[str, str], tmp_path: Path):
    first = replace(study(), name="a", size="b-c")
    write_all(first, tmp_path)
    with pytest.raises(OutputError, match="holds the table of 'a' of the size 'b-c'"):
        require_folder(tmp_path, study=other["name"], size=other["size"])
    with pytest.raises(OutputError, match="nothing was changed"):
        write_all(replace(study(), **other), tmp_path)
    write_all(first, tmp_path)


def test_a_table_of_the_user_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"holds table\.md, which taskaware did not write"):
        write_all(study(), tmp_path)
    assert shown_files(tmp_path) == [tmp_path / "table.md"]
