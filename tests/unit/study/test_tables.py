from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from made_up import HOSTILE, bleu, many_tasks, one_seed, rows, study, wer

from taskaware.study.results import Row
from taskaware.study.summary import best_row, columns_of, duration, entries_of, number, percent
from taskaware.study.tables import to_csv, to_json, to_markdown

if TYPE_CHECKING:
    from taskaware.study.results import StudyResults


def tables_of(markdown: str) -> list[list[list[str]]]:
    """Every table of a page as lines of cells; an escaped bar is part of its cell."""
    found: list[list[list[str]]] = [[]]
    for line in markdown.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def line_of(results: StudyResults, label: str) -> list[str]:
    return next(line for line in tables_of(to_markdown(results))[0] if line[0] == label)


COSTS = ("of one task alone", "on disk", "decoding time")


def csv_lines(results: StudyResults) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(results))))


def test_a_cell_is_mean_deviation_and_confusion_with_the_best_bold() -> None:
    assert line_of(study(), "vanilla")[1:4] == [
        "50.0 ± 10.0 (45 % confused)",
        "41.0 ± 1.0 (40 % confused)",
        "**99.0 ± 1.0**",
    ]
    assert line_of(study(), "implicit")[1] == "**1.0 ± 0.0** † (&lt;0.1 % confused)"


def test_columns_say_the_metric_and_where_better_is() -> None:
    heads = tables_of(to_markdown(study()))[0][0]
    assert heads[:4] == ["", "asr_en WER % ↓", "st_en_de BLEU ↑", "mt_en_de BLEU ↑"]
    assert "WER is a percentage." in to_markdown(study())


def test_what_says_little_is_said_below_the_table() -> None:
    warning = "mt_en_de, bleu: most references have fewer than 4 words"
    assert f"{warning}." in to_markdown(study(warnings=(warning,)))
    assert json.loads(to_json(study(warnings=(warning,))))["warnings"] == [warning]


def test_numbers_that_print_alike_are_both_the_best() -> None:
    # 90.04 and 90.00 on average.
    assert line_of(study(), r"tag \[1\]")[2].startswith("**90.0 ± 0.0**")
    assert line_of(study(), "implicit")[2].startswith("**90.0 ± 0.0**")


def test_a_difference_is_significant_where_it_is_in_every_seed_and_in_one_direction() -> None:
    marks = {
        row.label: [bool(entry and entry.significant) for entry in entries]
        for row, entries in zip(study().rows, entries_of(study()), strict=True)
    }
    assert marks == {
        "vanilla": [False, False, False],
        "tag": [True, True, False],  # largest p: 0.049, 0.049, 0.05
        "implicit": [True, False, False],  # the last: better, worse, worse
        "speech alone": [False, False, False],
    }
    legend = "† Differs significantly (paired bootstrap, p &lt; 0.05 in every seed): "
    assert legend + "“tag”, “implicit” against “vanilla”." in to_markdown(study())


def test_without_a_significant_difference_there_is_no_legend_of_one() -> None:
    assert "†" not in to_markdown(study(rows=rows()[:1]))


def test_a_task_that_a_row_lacks_is_a_dash() -> None:
    told = {"of one task alone": "1,234,567", "on disk": "14.8 MB", "decoding time": "6.0 s"}
    heads = tables_of(to_markdown(study()))[0][0][5:]
    costs = [told.get(head, "–") for head in heads]
    assert line_of(study(), "speech alone")[1:] == ["2.0 ± 0.0", "–", "–", "3", *costs]


def test_what_a_row_costs_stands_behind_its_scores() -> None:
    heads = tables_of(to_markdown(study()))[0][0]
    costs = dict(zip(heads, line_of(study(), "vanilla"), strict=True))
    assert costs["parameters"] == "1,234,567"
    assert costs["training time"] == "10 min"
    assert costs["peak memory"] == "1,234 MiB"
    assert line_of(study(), "implicit")[-1] == "0.70 ± 0.10"
    assert "silhouette" not in tables_of(to_markdown(study(rows=rows()[:2])))[0][0]


def test_one_seed_has_no_deviation() -> None:
    markdown = to_markdown(one_seed())
    assert line_of(one_seed(), "vanilla")[1] == "25.0"  # and, alone, it is not the best
    assert "±" not in markdown
    assert "seed 7 ·" in markdown
    assert "Synthetic" not in markdown


def test_with_more_than_eight_tasks_columns_are_kinds() -> None:
    assert [column.name for column in columns_of(many_tasks())] == ["asr", "st"]
    # 10 to 17 and 20 to 27, a mean for each seed: 13.5 and 23.5.
    assert line_of(many_tasks(), "low")[1:3] == ["**37.5 ± 17.7**", "18.5 ± 7.1"]
    # A mean over fewer tasks is not compared with one over all.
    assert line_of(many_tasks(), "high")[1:3] == ["50.0 ± 0.0", "60.0 ± 0.0 (7 of 8 tasks)"]
    tasks = {line["task"] for line in csv_lines(many_tasks())}
    assert tasks == set(many_tasks().tasks)


def test_labels_can_break_neither_tables_nor_markup() -> None:
    cells = {HOSTILE: wer(0.5, 0.5, 0.5), "other": bleu(1.0, 2.0, 3.0)}
    row = Row(
        label=HOSTILE,
        cells=cells,
        by_dataset={HOSTILE: {HOSTILE: wer(0.5, 0.5, 0.5)}},
        note=HOSTILE,
        paper={HOSTILE: HOSTILE},
    )
    tasks = {HOSTILE: "asr", "other": "st"}
    markdown = to_markdown(study(title=HOSTILE, tasks=tasks, rows=(row, row)))
    assert "<script" not in markdown
    for table in tables_of(markdown):
        assert len({len(line) for line in table}) == 1
    assert r"\*bold\*" in markdown


def test_the_papers_numbers_corpora_and_forgetting_have_their_own_tables() -> None:
    _, paper, corpora, _, forgetting = tables_of(to_markdown(study()))
    assert paper[2:] == [["vanilla", "14.83", "0.81"], ["implicit", "11.61", "28.64"]]
    assert corpora[0] == ["", "implicit"]
    assert corpora[3] == ["st_en_de BLEU ↑: talks", "2.0 ± 1.0"]
    assert forgetting[2:] == [
        ["joint", r"91.0 ± 1.0 \*", r"80.0 ± 0.0 \*", "–"],
        ["then speech", r"95.0 ± 0.0 \*", "20.0 ± 10.0 (90 % confused)", "7.0 ± 0.0"],
    ]
    figures = "Average forgetting 60.0 ± 10.0 points; backward transfer −60.0 ± 10.0 points."
    assert figures in to_markdown(study())


def test_the_head_says_what_was_asked_on_what_and_how_to_do_it_again() -> None:
    markdown = to_markdown(study())
    assert markdown.startswith("# Does a cue help?\n\n**Synthetic data**\n\nDoes a model need")
    assert "```sh\ntaskaware study cues\n```" in markdown
    assert "size small · seeds 1, 2, 3 · test split · machine: two cores" in markdown
    assert "- implicit: tasks 0.62; corpora of st_en_de −0.11" in markdown
    assert r"- wer: case:lower\|jiwer:4" in markdown


def test_csv_has_a_line_for_each_row_task_corpus_and_seed() -> None:
    lines = csv_lines(study())
    assert len(lines) == 3 * (3 + 3 + 3 + 2 + 1)
    first = lines[0]
    assert first["row"] == "vanilla"
    assert (first["task"], first["kind"], first["dataset"], first["seed"]) == (
        *("asr_en", "asr", ""),
        "1",
    )
    assert (first["value"], first["points"], first["confusion_rate"]) == ("40.0", "60.0", "0.4")
    assert (first["p_value"], first["seconds"], first["silhouette"]) == ("", "590.0", "")
    corpora = [line for line in lines if line["dataset"] == "talks"]
    assert [line["value"] for line in corpora] == ["1.0", "2.0", "3.0"]


def test_what_a_task_costs_is_told_where_it_is_known() -> None:
    heads = tables_of(to_markdown(study()))[0][0]
    told = {
        label: [line_of(study(), label)[heads.index(head)] for head in COSTS]
        for label in ("vanilla", "implicit", "speech alone")
    }
    assert told["vanilla"] == ["–", "–", "–"]
    assert told["implicit"] == ["0", "–", "–"]
    assert told["speech alone"] == ["1,234,567", "14.8 MB", "6.0 s"]
    last = csv_lines(study())[-1]
    assert (last["parameters_of_one_task"], last["num_bytes"], last["decoding_seconds"]) == (
        *("1234567", "14814804"),
        "7.0",
    )


def test_csv_keeps_any_label() -> None:
    row = replace(rows()[0], label=HOSTILE)
    assert csv_lines(study(rows=(row,)))[0]["row"] == HOSTILE


def test_json_has_everything_and_is_the_same_each_time() -> None:
    text = to_json(study())
    assert text == to_json(study())
    content = json.loads(text)
    assert list(content)[:3] == ["name", "title", "question"]
    assert content["rows"][0]["cells"]["asr_en"]["values"] == [40.0, 50.0, 60.0]
    assert content["embeddings"][0]["points"][1] == [2.0, 3.0]
    assert content["matrices"][0]["trained"] == [["asr_en", "st_en_de", "mt_en_de"], ["asr_en"]]


def test_a_number_that_is_none_is_null_in_json_and_a_dash_in_tables() -> None:
    row = replace(rows()[0], silhouettes=(float("nan"), 0.5, 0.5))
    content = json.loads(to_json(study(rows=(row,))), parse_constant=pytest.fail)
    assert content["rows"][0]["silhouettes"] == [None, 0.5, 0.5]
    assert line_of(study(rows=(row,)), "vanilla")[-1] == "–"


def test_the_best_row_has_most_points_and_every_task() -> None:
    # Points: vanilla (50, 41, 99), tag (97, 90.04, 99), implicit (99, 90, 98.83): 95.35 and 95.94.
    assert best_row(study()) == 2
    assert best_row(study(rows=rows()[3:])) is None


def test_numbers_are_short_but_do_not_lie() -> None:
    assert number([-0.01]) == "0.0"
    assert number([-1.26, -1.26]) == "−1.3 ± 0.0"
    assert [percent(rate).replace("\u202f", " ") for rate in (0, 0.0004, 0.004, 0.0996, 1)] == [
        *("0 %", "<0.1 %", "0.4 %", "10 %", "100 %")
    ]
    assert [duration([value]) for value in (3.14, 59.6, 99.6, 3540, 8100)] == [
        *("3.1 s", "60 s", "2 min", "59 min", "2 h 15 min")
    ]


def test_the_parameters_of_every_part_stand_in_a_table_of_their_own() -> None:
    tables = {tuple(table[0]): table for table in tables_of(to_markdown(study()))}
    parts = tables["", "encoder", "decoder", "task network"]
    assert parts[2][0] == "vanilla"
    assert parts[2][1:] == ["1,000,000", "234,567", "–"]
    assert ["1,000,000", "–", "500"] in [line[1:] for line in parts]
