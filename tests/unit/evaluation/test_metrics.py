from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskaware.errors import DataError
from taskaware.evaluation.metrics import (
    Score,
    bleu,
    bleu_tokeniser,
    character_error_rate,
    chrf,
    normalise_transcript,
    score_task,
    signatures,
    target_language,
    warnings,
    word_error_rate,
)
from taskaware.types import Task


def edit_distance(source: list[str], target: list[str]) -> int:
    """Levenshtein distance, the textbook table: an oracle."""
    row = list(range(len(target) + 1))
    for i, word in enumerate(source, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(target, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]


def task(kind: str, language: str = "") -> Task:
    return Task(name=kind, kind=kind, source_modality="text", target_language=language)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello,\u00a0World!\t\n", "hello world"),
        ("IT’S the dogs' “day”", "it's the dogs day"),
        ("well-known — 'quoted'", "well known quoted"),
        ("u\u0308ber ¿Qué? U.S.", "über qué us"),
        ("snake_case 3,5 $5", "snakecase 35 $5"),
        ("...", ""),
        # What nobody sees or hears.
        ("good morn\u00ading\u200b\ufeff \u202ago\u202c a\ufe0f", "good morning go a"),
        (
            "\u0645\u0640\u0640\u0631\u062d\u0628\u0627",
            "\u0645\u0631\u062d\u0628\u0627",
        ),  # a stretched word
        ("ＡＢ１ ﬁn", "ab1 fin"),
        ("İSTANBUL I\u0307zmir", "istanbul izmir"),
        ("ΟΔΟΣ οδος", "οδοσ οδοσ"),
        # What stands between words.
        ("and/or either\\or a|b", "and or either or a b"),
        ("well…yes no...so one,two; 1,000", "well yes no so one two 1000"),
        ("−5 x\u2010y 2\u20133", "5 x y 2 3"),
        ("यह घर है।वह", "यह घर है वह"),
        # One apostrophe, of whatever kind.
        ("don´t don`t donʼt don＇t don‘t don′t", "don't " * 5 + "don't"),
        ("rock 'n' roll O''Neil ''", "rock n roll oneil"),
    ],
)
def test_transcripts_are_compared_as_lower_case_words_alone(text: str, normal: str) -> None:
    assert normalise_transcript(text) == normal


@given(st.text())
def test_normalising_a_transcript_twice_changes_nothing(text: str) -> None:
    once = normalise_transcript(text)
    assert once == " ".join(once.split())
    assert normalise_transcript(once) == once


sentences = st.lists(st.sampled_from(["a", "b", "c"]), max_size=5)


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=4))
def test_word_error_rate_is_edit_distance_over_reference_words(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    edits = sum(edit_distance(hypothesis, reference) for hypothesis, reference in pairs)
    num_words = sum(len(reference) for _, reference in pairs)
    score = word_error_rate([" ".join(h) for h, _ in pairs], [" ".join(r) for _, r in pairs])
    assert score.value == pytest.approx(100 * edits / max(num_words, 1))
    assert score.num_examples == len(pairs)


def test_word_error_rate_is_a_percentage_of_all_words_not_a_mean_over_sentences() -> None:
    score = word_error_rate(["A, b c d", "x"], ["a b c d", "y"])
    assert score.value == 20.0
    assert score.points == 80.0
    assert score.metric == "wer"
    assert score.signature.startswith(
        "rule:2|case:lower|norm:NFKC|format:none|punctuation:none|unit:percent|jiwer:"
    )


def test_a_word_error_rate_of_an_older_file_is_a_fraction_and_becomes_a_percentage() -> None:
    old = {"metric": "wer", "value": 0.125, "signature": "case:lower|jiwer:4", "num_examples": 8}
    assert Score.from_mapping(old).value == 12.5
    new = word_error_rate(["a"], ["b"])
    assert Score.from_mapping(asdict(new)) == new


def test_empty_references_count_their_outputs_as_insertions() -> None:
    assert word_error_rate(["a b", "c"], ["", "c"]).value == 200.0
    assert word_error_rate(["a b"], ["..."]).value == 200.0
    assert word_error_rate(["a b"], ["..."]).points == 0.0
    assert word_error_rate([""], [""]).value == 0.0
    assert "no reference has a word" in word_error_rate([""], [""]).warning


def test_words_may_be_separated_by_any_white_space() -> None:
    assert word_error_rate(["a\u00a0b\u2003c"], ["a b c"]).value == 0.0


def test_perfect_translations_score_100_and_case_counts() -> None:
    references = ["The old man sees the small dog.", "Der Hund schläft heute im Garten."]
    assert bleu(references, references).value == pytest.approx(100)
    assert chrf(references, references).value == pytest.approx(100)
    assert bleu([text.lower() for text in references], references).value < 90


def test_scores_carry_the_signature_of_sacrebleu() -> None:
    reference = ["a b c d e"]
    assert "case:mixed" in bleu(reference, reference).signature
    assert "tok:13a" in bleu(reference, reference).signature
    assert "version:" in chrf(reference, reference).signature


def test_speech_recognition_is_scored_by_wer_and_all_else_by_bleu_then_chrf() -> None:
    text = ["a b c d e"]
    assert [score.metric for score in score_task(task("asr"), text, text)] == ["wer"]
    for kind in ("st", "mt", "captioning"):
        scores = score_task(task(kind), text, text)
        assert [score.metric for score in scores] == ["bleu", "chrf"]


# --- languages ---

ZH = "今天天气很好，我们去公园散步"
CHINESE = ("zh", "zh-Hans", "zh_CN", "cmn", "yue-Hant-HK", "ZHO", "zh-yue", "Chinese")


def test_a_capital_i_is_lowered_as_its_language_does() -> None:
    assert normalise_transcript("IŞIK İzin", "tr") == "ışık izin"
    assert normalise_transcript("IŞIK İzin", "az-Latn") == "ışık izin"
    assert normalise_transcript("IŞIK İzin", "en") == "işik izin"
    assert word_error_rate(["ışık"], ["IŞIK"], "tur").value == 0.0
    assert "case:lower-tr|" in word_error_rate(["a"], ["a"], "tr").signature


@pytest.mark.parametrize("tag", [*CHINESE, "", "und", "x-mine"])
def test_chinese_recognition_is_scored_by_characters_whatever_the_tag(tag: str) -> None:
    [score] = score_task(task("asr", tag), ["今天天气非常好，我们去公园散步"], [ZH])
    assert score.metric == "cer"
    assert score.value == pytest.approx(100 * 2 / 13)
    assert "spaces:none|unit:percent" in score.signature


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("ja", "今日は天気がいいです"),
        ("jpn", "カタカナのテスト"),
        ("th", "สวัสดีครับ"),
        ("lao", "ສະບາຍດີ"),
        ("km-KH", "សួស្តី"),
        ("mya", "မင်္ဂလာပါ"),
        ("bo", "བཀྲ་ཤིས་བདེ་ལེགས"),
    ],
)
def test_languages_without_spaces_are_told_by_their_tag_or_by_their_script(
    tag: str, text: str
) -> None:
    for named in (tag, ""):
        assert [s.metric for s in score_task(task("asr", named), [text], [text])] == ["cer"]
        value = score_task(task("mt", named), [text[:-1]], [text])[0]
        assert 50 < value.value < 100
        assert "tok:13a" not in value.signature


def test_words_that_white_space_separates_keep_their_word_error_rate() -> None:
    for tag, text in (("ko", "안녕 하세요"), ("hi", "यह घर है"), ("zh-Latn", "ni hao"), ("", "hi")):
        assert [s.metric for s in score_task(task("asr", tag), [text], [text])] == ["wer"]


def test_each_sign_is_a_word_to_the_word_error_rate_of_a_mixed_text() -> None:
    assert word_error_rate(["我 用 laptop 工作"], ["我用 computer工作"]).value == 20.0
    assert character_error_rate(["a b c"], ["ab d"]).value == pytest.approx(100 / 3)


@pytest.mark.parametrize("tag", [*CHINESE, ""])
def test_bleu_of_chinese_uses_sacrebleus_tokeniser_for_it(tag: str) -> None:
    from sacrebleu import corpus_bleu

    hypotheses, references = ["今天天气非常好，我们去公园散步", "房子老师"], [ZH, "房子学生"]
    score = score_task(task("mt", tag), hypotheses, references)[0]
    assert score.value == corpus_bleu(hypotheses, [references], tokenize="zh").score > 40
    assert "tok:zh" in score.signature


def test_the_signature_says_which_tokeniser_there_was() -> None:
    installed = {"ja": find_spec("MeCab"), "ko": find_spec("mecab_ko")}
    for code, found in installed.items():
        assert bleu_tokeniser(code) == (f"{code}-mecab" if found else "char")
    assert [bleu_tokeniser(code) for code in ("th", "km", "de", "hi", "")] == [
        *("char", "char", "13a", "13a", "13a")
    ]
    text = "이것은 책입니다"
    assert "tok:13a" not in bleu([text], [text], "ko").signature


def test_perfect_outputs_of_few_words_score_100_and_a_warning_says_what_that_means() -> None:
    for text in ("ja", "guten Tag", "房"):
        score = bleu([text] * 50, [text] * 50)
        assert score.value == pytest.approx(100)
        assert "eff:yes" in score.signature
        assert "fewer than 4 words" in score.warning
    assert bleu(["nein"] * 50, ["ja"] * 50).value == 0.0
    long = ["one two three four five"] * 3
    assert "eff:no" in bleu(long, long).signature
    assert not bleu(long, long).warning
    assert "no output has 4 words" in bleu(["one two three"] * 3, long).warning


def test_a_part_of_a_tasks_examples_is_scored_as_all_of_them() -> None:
    both = [ZH, ZH, "hello"]
    language = target_language(task("asr"), both)
    [part] = score_task(task("asr"), ["hallo"], ["hello"], language)
    assert part.metric == "cer"


def test_signatures_name_their_tasks_only_where_they_differ() -> None:
    german, chinese = bleu(["a b c d"], ["a b c d"]), bleu([ZH], [ZH], "zh")
    assert signatures([("de", german), ("fr", german)]) == {"bleu": german.signature}
    assert signatures([("de", german), ("fr", german), ("zh", chinese)]) == {
        "bleu (de, fr)": german.signature,
        "bleu (zh)": chinese.signature,
    }
    short = bleu(["ja"], ["ja"])
    assert warnings([("a", short), ("a", short), ("b", german)]) == [f"a, bleu: {short.warning}"]


def test_scoring_nothing_or_unequal_numbers_is_refused() -> None:
    with pytest.raises(DataError, match="at least one example"):
        score_task(task("asr"), [], [])
    with pytest.raises(ValueError, match="1 hypothesis and 2 references"):
        bleu(["a"], ["a", "b"])
