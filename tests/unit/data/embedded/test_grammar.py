"""The embedded grammar: right translations, one for each English sentence, words enough."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from taskaware.data.embedded import lexicon
from taskaware.data.embedded.grammar import (
    MAX_NUM_SENTENCES,
    Sentence,
    draw,
    generate,
    say,
    vocabulary,
)
from taskaware.data.embedded.phrases import Clause, Compound, Description, NounPhrase
from taskaware.data.embedded.turkish import accusative, genitive, instrumental, locative


def word(english, *tables):
    return next(entry for table in tables for entry in table if entry.english == english)


def noun(english):
    tables = (lexicon.PERSONS, lexicon.FAMILY, lexicon.PRONOUNS, lexicon.OBJECTS, lexicon.DRINKS)
    return word(english, *tables)


def phrase(text):
    """A noun phrase as English writes it: "the old man", "five red books", "cold milk", "she"."""
    words = text.split()
    determiner = words.pop(0).replace("an", "a") if words[0] in ("the", "a", "an", "my") else ""
    numbers = {number.english: number for number in lexicon.NUMBERS}
    number = numbers[words.pop(0)] if words[0] in numbers else None
    adjective = word(words.pop(0), lexicon.ADJECTIVES) if len(words) == 2 else None
    singular = {entry.english_plural: entry.english for entry in lexicon.OBJECTS}
    head = noun(singular[words[0]] if number else words[0])
    return NounPhrase(noun=head, determiner=determiner, number=number, adjective=adjective)


def clause(subject, verb, direct_object="", *, companion="", place="", time="", modal="", **rest):
    return Clause(
        subject=phrase(subject) if subject else None,
        verb=word(verb, lexicon.TRANSITIVE_VERBS, lexicon.INTRANSITIVE_VERBS),
        object=phrase(direct_object) if direct_object else None,
        companion=phrase(companion) if companion else None,
        place=next((p for p in lexicon.PLACES if p.english_noun == place), None),
        time=word(time, lexicon.TIMES) if time else None,
        modal=word(modal, lexicon.MODALS) if modal else None,
        **rest,
    )


def description(subject, *, adjective="", place="", **rest):
    return Description(
        subject=phrase(subject),
        adjective=word(adjective, lexicon.ADJECTIVES) if adjective else None,
        place=next((p for p in lexicon.PLACES if p.english_noun == place), None),
        **rest,
    )


GOLDEN = [
    (
        clause("the old teacher", "read", "a red book", time="today"),
        "The old teacher reads a red book today.",
        "Der alte Lehrer liest heute ein rotes Buch.",
        "Yaşlı öğretmen bugün kırmızı bir kitap okuyor.",
        "Profesorul bătrân citește o carte roșie azi.",
    ),
    (
        clause("a young doctor", "buy", "the hat", time="on Monday", time_first=True, past=True),
        "On Monday a young doctor bought the hat.",
        "Am Montag hat ein junger Arzt den Hut gekauft.",
        "Pazartesi günü genç bir doktor şapkayı aldı.",
        "Luni un medic tânăr a cumpărat pălăria.",
    ),
    (
        clause("she", "throw", "the expensive umbrella"),
        "She throws away the expensive umbrella.",
        "Sie wirft den teuren Regenschirm weg.",
        "Pahalı şemsiyeyi atıyor.",
        "Ea aruncă umbrela scumpă.",
    ),
    (
        clause("my sister", "bring", "five big apples", past=True),
        "My sister brought five big apples.",
        "Meine Schwester hat fünf große Äpfel gebracht.",
        "Kız kardeşim beş büyük elma getirdi.",
        "Sora mea a adus cinci mere mari.",
    ),
    (
        clause("he", "drink", "cold milk", negated=True),
        "He does not drink cold milk.",
        "Er trinkt keine kalte Milch.",
        "Soğuk süt içmiyor.",
        "El nu bea lapte rece.",
    ),
    (
        clause("the nurse", "close", "the window", negated=True, past=True),
        "The nurse did not close the window.",
        "Die Krankenschwester hat das Fenster nicht zugemacht.",
        "Hemşire pencereyi kapatmadı.",
        "Asistenta nu a închis fereastra.",
    ),
    (
        clause("my father", "sell", "a black dog", negated=True),
        "My father does not sell a black dog.",
        "Mein Vater verkauft keinen schwarzen Hund.",
        "Babam siyah köpek satmıyor.",
        "Tatăl meu nu vinde un câine negru.",
    ),
    (
        clause("the guest", "work", place="garden", time="today"),
        "The guest works in the garden today.",
        "Der Gast arbeitet heute im Garten.",
        "Misafir bugün bahçede çalışıyor.",
        "Oaspetele lucrează în grădină azi.",
    ),
    (
        clause("the child", "play", companion="the tall boy", past=True),
        "The child played with the tall boy.",
        "Das Kind hat mit dem großen Jungen gespielt.",
        "Çocuk uzun boylu oğlanla oynadı.",
        "Copilul s-a jucat cu băiatul înalt.",
    ),
    (
        clause("the queen", "wake", time="tomorrow", time_first=True, modal="must"),
        "Tomorrow the queen must wake up.",
        "Morgen muss die Königin aufwachen.",
        "Yarın kraliçe uyanmalı.",
        "Mâine regina trebuie să se trezească.",
    ),
    (
        clause("the boy", "eat", "a fresh egg", modal="wants to"),
        "The boy wants to eat a fresh egg.",
        "Der Junge will ein frisches Ei essen.",
        "Oğlan taze bir yumurta yemek istiyor.",
        "Băiatul vrea să mănânce un ou proaspăt.",
    ),
    (
        clause("the girl", "lose", "the key", modal="will"),
        "The girl will lose the key.",
        "Das Mädchen wird den Schlüssel verlieren.",
        "Kız anahtarı kaybedecek.",
        "Fata va pierde cheia.",
    ),
    (
        clause("the baby", "swim", modal="can", question="yes_no"),
        "Can the baby swim?",
        "Kann das Baby schwimmen?",
        "Bebek yüzebilir mi?",
        "Bebelușul poate să înoate?",
    ),
    (
        clause("the farmer", "arrive", past=True, question="yes_no"),
        "Did the farmer arrive?",
        "Ist der Bauer angekommen?",
        "Çiftçi geldi mi?",
        "Fermierul a sosit?",
    ),
    (
        clause("", "wash", "the white shirt", past=True, question="who"),
        "Who washed the white shirt?",
        "Wer hat das weiße Hemd gewaschen?",
        "Beyaz gömleği kim yıkadı?",
        "Cine a spălat cămașa albă?",
    ),
    (
        clause("my brother", "open", time="today", question="what"),
        "What does my brother open today?",
        "Was macht mein Bruder heute auf?",
        "Erkek kardeşim bugün ne açıyor?",
        "Ce deschide fratele meu azi?",
    ),
    (
        clause("the student", "sleep", past=True, question="where"),
        "Where did the student sleep?",
        "Wo hat der Student geschlafen?",
        "Öğrenci nerede uyudu?",
        "Unde a dormit studentul?",
    ),
    (
        description("the green car", adjective="expensive", negated=True),
        "The green car is not expensive.",
        "Das grüne Auto ist nicht teuer.",
        "Yeşil araba pahalı değil.",
        "Mașina verde nu este scumpă.",
    ),
    (
        description("my mother", place="tree", past=True),
        "My mother was under the tree.",
        "Meine Mutter war unter dem Baum.",
        "Annem ağacın altındaydı.",
        "Mama mea era sub copac.",
    ),
    (
        description("the small cat", question="where"),
        "Where is the small cat?",
        "Wo ist die kleine Katze?",
        "Küçük kedi nerede?",
        "Unde este pisica mică?",
    ),
    (
        Compound(
            first=clause("the woman", "wait"),
            conjunction="because",
            second=clause("the waiter", "arrive"),
        ),
        "The woman waits because the waiter arrives.",
        "Die Frau wartet, weil der Kellner ankommt.",
        "Kadın bekliyor, çünkü garson geliyor.",
        "Femeia așteaptă pentru că chelnerul sosește.",
    ),
    (
        Compound(
            first=clause("she", "laugh", past=True),
            conjunction="because",
            second=clause("the man", "buy", "a lamp", past=True),
        ),
        "She laughed because the man bought a lamp.",
        "Sie hat gelacht, weil der Mann eine Lampe gekauft hat.",
        "Güldü, çünkü adam bir lamba aldı.",
        "Ea a râs pentru că bărbatul a cumpărat o lampă.",
    ),
    (
        Compound(first=clause("he", "sing"), conjunction="but", second=clause("my uncle", "dance")),
        "He sings, but my uncle dances.",
        "Er singt, aber mein Onkel tanzt.",
        "Şarkı söylüyor, ama amcam dans ediyor.",
        "El cântă, dar unchiul meu dansează.",
    ),
]


@pytest.mark.parametrize(("meaning", "english", "german", "turkish", "romanian"), GOLDEN)
def test_a_meaning_is_said_as_a_native_writes_it(meaning, english, german, turkish, romanian):
    expected = Sentence(english=english, german=german, turkish=turkish, romanian=romanian)
    assert say(meaning) == expected


@pytest.mark.parametrize(
    ("suffixed", "expected"),
    [
        (accusative("kitap", "kitab"), "kitabı"),
        (accusative("köpek", "köpeğ"), "köpeği"),
        (accusative("kutu"), "kutuyu"),
        (accusative("top"), "topu"),
        (accusative("elma"), "elmayı"),
        (genitive("köprü"), "köprünün"),
        (locative("park"), "parkta"),
        (locative("şehir"), "şehirde"),
        (instrumental("kraliçe"), "kraliçeyle"),
        (instrumental("doktor"), "doktorla"),
    ],
)
def test_turkish_suffixes_follow_vowel_harmony(suffixed, expected):
    assert suffixed == expected


def test_a_seed_gives_one_list_and_a_longer_list_begins_with_it():
    assert generate(300, seed=7) == generate(500, seed=7)[:300]
    assert generate(300, seed=7) != generate(300, seed=8)


def test_sentences_are_distinct():
    sentences = generate(5_000, seed=1)
    assert len({sentence.english for sentence in sentences}) == 5_000


def test_an_english_sentence_has_one_translation():
    rng = random.Random(3)
    said: dict[str, Sentence] = {}
    for _ in range(20_000):
        sentence = say(draw(rng))
        assert said.setdefault(sentence.english, sentence) == sentence
    assert len(said) < 20_000, "no sentence came twice, so nothing was compared"


def test_sentences_are_short_and_use_the_whole_vocabulary_about_evenly():
    sentences = generate(12_000, seed=1)
    lengths = [len(sentence.english.split()) for sentence in sentences]
    assert min(lengths) >= 3
    assert max(lengths) <= 9
    assert 5 <= sum(lengths) / len(lengths) <= 6
    counts = Counter(
        word.strip(".,?").lower() for sentence in sentences for word in sentence.english.split()
    )
    assert set(counts) == vocabulary()
    assert 200 <= len(counts) <= 240
    assert min(counts.values()) >= 20, "a word this rare is not learned"


def test_sentences_are_cased_and_punctuated():
    for sentence in generate(1_000, seed=2):
        for text in (sentence.english, sentence.german, sentence.turkish, sentence.romanian):
            assert text[0].isupper()
            assert text[-1] in ".?"
            assert "  " not in text
            assert "-" not in text.replace("s-a ", "")
            assert text.strip() == text


@pytest.mark.parametrize("num_sentences", [-1, MAX_NUM_SENTENCES + 1])
def test_an_impossible_number_of_sentences_is_refused(num_sentences):
    with pytest.raises(ValueError, match="num_sentences"):
        generate(num_sentences, seed=1)


def test_tables_are_filled_in_the_columns_that_every_word_needs():
    optional = {"german_dative", "german_plural", "english_plural", "turkish_stem"}
    for entry in lexicon.OBJECTS:
        missing = {name for name, cell in vars(entry).items() if not cell}
        assert missing <= optional, entry.english
        assert entry.german_gender in "mfn"
        assert entry.romanian_gender in "mfn"
        assert bool(entry.english_plural) == bool(entry.german_plural)
    for entry in (*lexicon.TRANSITIVE_VERBS, *lexicon.INTRANSITIVE_VERBS):
        assert entry.german_auxiliary in ("hat", "ist")
        assert entry.german_infinitive.startswith(entry.german_prefix)
