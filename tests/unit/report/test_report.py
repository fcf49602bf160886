from __future__ import annotations

import base64
import re

from html_page import Page
from taskaware.report.contents import (
    EmbeddingPicture,
    ModelLosses,
    PartParameters,
    ReportContents,
    ScoreRow,
    ShownExample,
    ShownOutput,
)
from taskaware.report.figures import LossCurve
from taskaware.report.page import render_html

HOSTILE = "<script>alert('x')</script>\"&"


def score(model: str, value: float, metric: str = "bleu", confusion: float = 0.0) -> ScoreRow:
    return ScoreRow(
        model=model,
        task="st_en_de",
        metric=metric,
        score=value,
        num_examples=1234,
        confusion_rate=confusion,
        seconds=2.5,
        signature=f"{metric}|case:mixed",
    )


def example(*outputs: ShownOutput, audio: bytes = b"", source_text: str = "") -> ShownExample:
    return ShownExample(
        task="st_en_de",
        reference="der alte Hund",
        outputs=outputs,
        audio=audio,
        source_text=source_text,
        origin="test-7",
    )


def contents(text: str = "text") -> ReportContents:
    output = ShownOutput(model=text, text=text, wrong=True)
    return ReportContents(
        title=text,
        summary=text,
        synthetic=True,
        scores=[
            ScoreRow(model=text, task=text, metric=text, score=1.0, num_examples=1, signature=text),
            score("other", 9.0),
        ],
        losses=[
            ModelLosses(
                model=text, curves=[LossCurve(task=text, updates=[1, 2], losses=[2.0, 1.0])]
            )
        ],
        embeddings=[EmbeddingPicture(model=text, svg="<svg></svg>", num_embeddings=9)],
        examples=[
            ShownExample(
                task=text,
                reference=text,
                outputs=[output],
                source_text=text,
                audio=b"1",
                audio_type=text,
                origin=text,
            )
        ],
        parameters=[PartParameters(model=text, part=text, num_parameters=12345)],
        provenance={text: text},
    )


def test_a_page_is_well_formed_and_escapes_every_text() -> None:
    html = render_html(contents(HOSTILE))
    page = Page(html)
    assert all(tag != "script" for tag, _ in page.tags)
    assert "alert('x')" in page.text
    assert "<script" not in html


def test_a_page_asks_nothing_of_the_network() -> None:
    page = Page(render_html(contents()))
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
    html = render_html(contents())
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html


def test_synthetic_data_is_labelled_only_where_it_is() -> None:
    plain = ReportContents(title="t", summary="s", scores=[])
    assert "Synthetic data" in Page(render_html(contents())).text
    assert "Synthetic" not in Page(render_html(plain)).text


def test_sections_without_contents_are_left_out() -> None:
    page = Page(render_html(ReportContents(title="Title", summary="Summary.", scores=[])))
    assert page.text == "Title Title Summary."


def test_one_model_is_one_table_and_several_stand_side_by_side() -> None:
    one = Page(
        render_html(ReportContents(title="t", summary="s", scores=[score("implicit", 94.31)]))
    )
    assert "implicit st_en_de BLEU ↑ 94.3 0.0 % 1,234 2.5" in one.text
    rows = [score("implicit", 94.31), score("vanilla", 41.2, confusion=0.4475)]
    html = render_html(ReportContents(title="t", summary="s", scores=rows))
    page = Page(html)
    assert "Task implicit vanilla st_en_de BLEU ↑ 94.3 0.0 % confused 41.2 44.8 %" in page.text
    assert '<td class="best">94.3' in html
    assert '<small class="high">44.8' in html
    assert "bleu|case:mixed" in page.text


def test_the_lowest_word_error_rate_is_the_best() -> None:
    rows = [score("a", 50.0, metric="wer"), score("b", 1.34, metric="wer")]
    html = render_html(ReportContents(title="t", summary="s", scores=rows))
    assert '<td class="best">1.3' in html
    assert '<td class="best">50.0' not in html


def test_a_score_that_one_model_lacks_is_a_dash() -> None:
    rows = [score("a", 10.0), score("b", 20.0, metric="chrf")]
    page = Page(render_html(ReportContents(title="t", summary="s", scores=rows)))
    assert "BLEU ↑ 10.0 0.0 % confused – st_en_de chrF ↑ – 20.0" in page.text


def test_outputs_are_marked_right_wrong_or_confused_in_words() -> None:
    outputs = (
        ShownOutput(model="a", text="der alte Hund", wrong=False),
        ShownOutput(model="b", text="der neue Hund", wrong=True),
        ShownOutput(model="c", text="the old dog", wrong=True, confused=True),
        ShownOutput(model="d", text="", wrong=True),
    )
    html = render_html(
        ReportContents(title="t", summary="s", scores=[], examples=[example(*outputs)])
    )
    page = Page(html)
    assert "a der alte Hund ✓ right" in page.text
    assert "b der neue Hund ≠ not the reference" in page.text
    assert 'der <mark class="other">neue</mark> Hund' in html
    assert "c the old dog ⇄ another task’s output" in page.text
    assert "d nothing ≠ not the reference" in page.text


def test_speech_is_playable_and_text_is_shown() -> None:
    output = ShownOutput(model="a", text="x", wrong=True)
    examples = [example(output, audio=b"RIFF\0"), example(output, source_text="the old dog")]
    page = Page(render_html(ReportContents(title="t", summary="s", scores=[], examples=examples)))
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "audio"]
    assert sources == [f"data:audio/wav;base64,{base64.b64encode(b'RIFF' + bytes(1)).decode()}"]
    assert "source the old dog reference der alte Hund output x" in page.text


def test_parameters_are_summed_by_model() -> None:
    parameters = [
        PartParameters(model="a", part="encoder", num_parameters=1000),
        PartParameters(model="a", part="task network", num_parameters=234),
        PartParameters(model="b", part="encoder", num_parameters=1000),
    ]
    page = Page(
        render_html(ReportContents(title="t", summary="s", scores=[], parameters=parameters))
    )
    assert "encoder 1,000 1,000 task network 234 – total 1,234 1,000" in page.text


def test_a_wrong_sign_of_a_text_without_spaces_is_marked_alone() -> None:
    output = ShownOutput(model="a", text="今天天晴很好", wrong=True)
    example = ShownExample(task="t", reference="今天天气很好", outputs=[output])
    html = render_html(ReportContents(title="t", summary="s", scores=[], examples=[example]))
    assert '今天天<mark class="other">晴</mark>很好' in html
