"""The same Whisper in three libraries: ours, Hugging Face's, faster-whisper's (CTranslate2).

Measured: from waveforms to pieces. All hear a recording filled up with silence to 30 s, as Whisper
was trained; prompt, suppressed pieces and the longest output are equal. Of faster-whisper it is
the model and the features, without cutting and retries: what ``transcribe`` computes for 30 s.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from taskaware.data.sound import audio
from taskaware.data.sound.whisper_features import whisper_log_mel
from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.pretrained.read import create_pretrained, read_pretrained
from taskaware.model.reduced import Weights, prepare_weights
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RATE_HZ = 16_000
HEARD_SECONDS = 30
LONGEST = 200  # pieces of an output
TASK = Task(
    name="asr_en", kind="asr", source_modality="speech", source_language="en", target_language="en"
)


class SpeechModels:
    """The libraries' models of one folder in Hugging Face's layout, with a ``tokenizer.json``."""

    def __init__(self, folder: Path, made: Path, threads: int, kinds: list[Weights]) -> None:
        from transformers import WhisperForConditionalGeneration

        self.theirs: Any = WhisperForConditionalGeneration.from_pretrained(folder).eval()
        pretrained = read_pretrained(folder)
        self.ours = {}
        for kind in kinds:
            self.ours[kind] = create_pretrained(pretrained, [TASK])
            prepare_weights(self.ours[kind], kind)
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        ids = dict(tokenizer["model"]["vocab"])
        ids |= {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
        self.end, self.num_bins = pretrained.end, pretrained.settings.num_features
        is_multilingual = pretrained.vocabulary_size > 51_864
        middle = ["<|en|>", "<|transcribe|>"] if is_multilingual else []
        names = ["<|startoftranscript|>", *middle, "<|notimestamps|>"]
        self.prompt = [ids[name] for name in names]
        self.suppressed = tuple(range(self.end + 1, pretrained.vocabulary_size))
        self.faster: dict[str, Any] = {}
        try:
            self._convert(ids, made)
            from ctranslate2.models import Whisper

            for kind in ("float32", "int8"):
                self.faster[kind] = Whisper(
                    str(made), compute_type=kind, inter_threads=1, intra_threads=threads
                )
        except ImportError:
            return

    def _convert(self, ids: dict[str, int], made: Path) -> None:
        from ctranslate2.converters import transformers as converters

        if (made / "model.bin").exists():
            return
        spec: Any = converters.WhisperLoader().get_model_spec(self.theirs)
        by_id = {number: name for name, number in ids.items()}
        size = self.theirs.config.vocab_size
        spec.register_vocabulary([by_id.get(i, f"<|unused {i}|>") for i in range(size)])
        spec.config.suppress_ids = list(range(self.end + 1, size))
        spec.config.suppress_ids_begin = []
        spec.config.alignment_heads = [[0, 0]]
        spec.config.lang_ids = []
        spec.validate()
        spec.optimize()
        made.mkdir(parents=True, exist_ok=True)
        spec.save(str(made))


def waveforms(files: list[Path], *, seconds: float, number: int) -> list[torch.Tensor]:
    """Return stretches of this length, each from another place of the recordings in a row."""
    every = torch.cat([torch.from_numpy(audio.read(f, sample_rate_hz=RATE_HZ)) for f in files])
    length = int(seconds * RATE_HZ)
    if len(every) < length:
        raise SystemExit(f"--recordings must hold {seconds} s, but hold {len(every) / RATE_HZ} s")
    starts = torch.linspace(0, len(every) - length, number).long().tolist()
    return [every[start : start + length] for start in starts]


def speech_contestants(
    models: SpeechModels, heard: list[torch.Tensor], *, beam: int, longest: int
) -> dict[str, Callable[[], list[list[int]]]]:
    """Return what recognises waveforms at 16 kHz, of at most 30 s.

    Args:
        models: The models.
        heard: The waveforms.
        beam: Hypotheses of each.
        longest: The most pieces of an output, its end counted.
    """
    settings = DecodingSettings(
        beam=beam,
        length_penalty=1.0,
        stopping="heuristic",
        max_pieces=longest,
        extra_pieces=1000,
        suppressed=models.suppressed,
    )

    def features() -> torch.Tensor:
        space = HEARD_SECONDS * RATE_HZ
        padded = [torch.nn.functional.pad(one, (0, space - len(one))) for one in heard]
        return torch.stack([whisper_log_mel(one, num_mel_bins=models.num_bins) for one in padded])

    def ours(model: Any) -> Callable[[], list[list[int]]]:
        vocabulary: Any = _NoText(models.end)

        def run() -> list[list[int]]:
            frames = features()
            found = beam_search(
                model,
                frames,
                torch.full((len(frames),), frames.shape[1]),
                modality="speech",
                task_embedding=None,
                begin=models.prompt,
                vocabulary=vocabulary,
                settings=settings,
            )
            return [list(best.token_ids) for best, *_ in found]

        return run

    def theirs() -> list[list[int]]:
        from transformers import GenerationMixin

        mixin: Any = GenerationMixin
        out = mixin.generate(
            models.theirs,
            features().transpose(1, 2),
            decoder_input_ids=torch.tensor([models.prompt] * len(heard)),
            num_beams=beam,
            do_sample=False,
            max_new_tokens=longest,
            suppress_tokens=list(models.suppressed),
            begin_suppress_tokens=None,
        )
        rows = out[:, len(models.prompt) :].tolist()
        return [row[: row.index(models.end)] if models.end in row else row for row in rows]

    def faster(model: Any) -> Callable[[], list[list[int]]]:
        def run() -> list[list[int]]:
            import ctranslate2

            frames = features().transpose(1, 2).contiguous().numpy()
            found = model.generate(
                ctranslate2.StorageView.from_array(frames),
                [models.prompt] * len(heard),
                beam_size=beam,
                length_penalty=1.0,
                max_length=longest + len(models.prompt),
                suppress_blank=False,
            )
            return [[i for i in one.sequences_ids[0] if i != models.end] for one in found]

        return run

    return {
        "Hugging Face": theirs,
        **{f"taskaware {kind}": ours(model) for kind, model in models.ours.items()},
        **{f"faster-whisper {kind}": faster(model) for kind, model in models.faster.items()},
    }


class _NoText:
    """What a search asks of a vocabulary, without the text."""

    NEVER = ()

    def __init__(self, end: int) -> None:
        self.EOS = end

    def decode(self, ids: list[int]) -> str:
        """Return nothing."""
        return ""
