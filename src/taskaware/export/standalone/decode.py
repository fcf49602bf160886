"""Decode with the models beside this file; onnxruntime and numpy are all that it needs.

    python decode.py --task asr_en talk.wav                 a line of text for each recording
    python decode.py --task mt_en_de lines.txt              a line for each line
    python decode.py --task asr_en --beam 1 *.wav

From Python::

    from decode import Model
    model = Model("FOLDER")
    model.decode("asr_en", [model.read("asr_en", "talk.wav")])[0].text

``taskaware export --as onnx`` wrote this file; it may be copied and changed.

Shape legend: B sources, W hypotheses of each (beam), V pieces, N samples, S frames, F Mel bins.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import sys
import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

NEVER = np.float32(-1e30)
WIDEST_BEAM = 1_000
LOWEST_HZ, HIGHEST_HZ = 1_000, 1_000_000
COPY_AGAIN = "copy the whole folder of the export again"
# What export.json must have, and of which type; `None` beside another type: may be null.
ABOUT = {"tasks": list, "num_heads": int, "head_size": int, "longest_target": (int, type(None))}
ABOUT |= {"features": dict, "decoding": dict, "eos": int, "adds_space": bool}
ABOUT |= {"cuts_texts": bool, "pieces": list}
TASK = {"name": str, "modality": str, "source_prefix": list, "source_suffix": list, "prompt": list}
TASK |= {"longest_source": (int, type(None)), "task_embedding": (list, type(None))}
FEATURES = {"kind": str, "sample_rate_hz": int, "window_samples": int, "hop_samples": int}
WHISPER = {"padded_seconds": (int, float)}
KALDI = {"fft": int, "preemphasis": (int, float), "normalisation": str}
KALDI |= {"floor": float, "variance_floor": (int, float)}
DECODING = {"beam": int, "length_penalty": (int, float), "extra_pieces": int, "stopping": str}
DECODING |= {"max_pieces": (int, type(None)), "examples_per_batch": int, "counted_prompt": int}
DECODING |= {"end_at_limit": bool, "suppressed": list, "suppressed_first": list, "no_repeat": int}


@dataclass
class Hypothesis:
    """An output: pieces, text, log-probability (nats), score, and whether it ended by itself."""

    pieces: list
    text: str
    log_prob: float
    score: float
    finished: bool


class Model:
    """The models of a folder, opened when they are first needed."""

    def __init__(self, folder, *, threads=0):
        self.folder = Path(folder)
        self.about = described(self.folder / "export.json")
        self.tasks = {task["name"]: task for task in self.about["tasks"]}
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._sessions = {}
        pieces = self.about["pieces"]
        self._bytes = [
            b"" if p is None else p.encode() if isinstance(p, str) else bytes(p) for p in pieces
        ]
        self._ids = {piece: i for i, piece in enumerate(pieces) if isinstance(piece, str)}
        self._byte_ids = {p[0]: i for i, p in enumerate(pieces) if isinstance(p, list)}

    def task(self, name):
        """Return what export.json says of a task."""
        if name not in self.tasks:
            raise ValueError(f"the task must be one of {', '.join(self.tasks)}, but is {name!r}")
        return self.tasks[name]

    def read(self, task_name, path):
        """Return a recording's features, or an array of features, float32 [S, F]."""
        path = Path(path)
        modality = self.task(task_name)["modality"]
        if modality == "text":
            raise ValueError(f"{task_name} takes texts, and no recording: give `cut` a text")
        if modality == "features":
            return array(path, "features, [frames, columns]", 2)
        found = self.features(waveform(path, self.about["features"]["sample_rate_hz"]))
        if not len(found):
            raise ValueError(f"{path}: must last at least as long as a frame, but is shorter")
        return found

    def features(self, samples):
        """Return the features of a waveform at the model's rate, [N] to [S, F]."""
        path = self.folder / "features.npz"
        with reading(path, "window and filters", COPY_AGAIN), np.load(path) as constants:
            window, filters = constants["window"], constants["filters"]
        return log_mel(samples, self.about["features"], window, filters)

    def cut(self, text):
        """Return the pieces of a text source."""
        if not self.about["cuts_texts"]:
            raise ValueError(
                "texts for this model are cut by a library: give the numbers of their pieces"
            )
        return np.array(cut(text, self._ids, self._byte_ids), dtype=np.int64)

    def text(self, pieces):
        """Return the text of pieces."""
        text = b"".join(self._bytes[i] for i in pieces).decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self.about["adds_space"] else text

    def decode(self, task_name, sources, *, beam=None):
        """Return the best hypothesis of each source: features [S, F], or pieces of a text [S]."""
        task, settings = self.task(task_name), dict(self.about["decoding"])
        settings["beam"] = settings["beam"] if beam is None else beam
        if not 1 <= settings["beam"] <= WIDEST_BEAM:
            raise ValueError(f"beam must be from 1 to {WIDEST_BEAM}, but is {settings['beam']}")
        if task["modality"] == "text":
            ends = (task["source_prefix"], task["source_suffix"])
            before, behind = (np.array(each, dtype=np.int64) for each in ends)
            sources = [np.concatenate([before, source, behind]) for source in sources]
        if not all(len(source) for source in sources):
            raise ValueError("a source must have a frame or a piece, but one has none")
        longest = task["longest_source"]
        if longest and any(len(source) > longest for source in sources):
            raise ValueError(
                f"a source must have at most {longest} frames or pieces: cut it into parts"
            )
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        size, found = settings["examples_per_batch"], {}
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            found |= zip(
                rows, self._search(task, [sources[i] for i in rows], settings), strict=False
            )
        return [found[i] for i in range(len(sources))]

    def _search(self, task, sources, settings):
        B, W, prompt = len(sources), settings["beam"], task["prompt"]
        lengths = np.array([len(source) for source in sources], dtype=np.int64)
        kind = np.int64 if task["modality"] == "text" else np.float32
        padded = np.zeros((B, lengths.max(), *sources[0].shape[1:]), dtype=kind)
        for row, source in zip(padded, sources):
            row[: len(source)] = source
        given = {"source": padded, "lengths": lengths}
        if task["task_embedding"] is not None:
            vector = np.array(task["task_embedding"], dtype=np.float32)
            given["task_embedding"] = np.tile(vector, (B, 1))
        encoded = self._run(f"encoder_{task['modality']}", given)
        past = {name: value for name, value in encoded.items() if name.startswith("past_")}
        past = {name: np.repeat(value, W, axis=0) for name, value in past.items()}
        kept = {name: value for name, value in encoded.items() if name.startswith("memory_")}
        if "task_embedding" in given:
            kept["task_embedding"] = given["task_embedding"]
        if not past:
            shape = (B * W, self.about["num_heads"], 0, self.about["head_size"])
            names = [name for name in kept if name != "task_embedding" and name != "memory_mask"]
            past = {name.replace("memory", "past"): np.zeros(shape, np.float32) for name in names}
        at = next(iter(past.values())).shape[2]
        for piece in prompt[:-1]:
            _, past = self._step(np.full((B, W), piece), kept, past)
        limits = self._limits(kept["memory_mask"].sum(axis=1), at + len(prompt), settings)
        searches = [Search(settings, self.about["eos"], prompt, limit) for limit in limits]
        rows = list(range(B))
        while rows:
            newest = np.array([searches[row].newest for row in rows], dtype=np.int64)
            log_probs, past = self._step(newest, kept, past)
            origins = [searches[row].advance(log_probs[i]) for i, row in enumerate(rows)]
            open_rows = [i for i, row in enumerate(rows) if not searches[row].is_done]
            flat = np.concatenate([i * W + origins[i] for i in open_rows] or [np.zeros(0, int)])
            if not np.array_equal(flat, np.arange(len(rows) * W)):
                past = {name: value[flat] for name, value in past.items()}
            if len(open_rows) < len(rows):
                kept = {name: value[open_rows] for name, value in kept.items()}
                rows = [rows[i] for i in open_rows]
        return [self._best(search) for search in searches]

    def _best(self, search):
        best = max(search.finished, key=lambda one: one[0], default=None)
        if best is None:
            raise ValueError("the model gives no finite probabilities: it is damaged")
        score, log_prob, pieces, ended = best
        return Hypothesis(pieces, self.text(pieces), log_prob, score, ended)

    def _limits(self, positions, prompt, settings):
        known = [settings["max_pieces"]]
        if self.about["longest_target"]:
            known.append(self.about["longest_target"] - prompt)
        known = [limit for limit in known if limit is not None]
        return [max(min([int(n) + settings["extra_pieces"], *known]), 1) for n in positions]

    def _step(self, pieces, kept, past):
        outputs = self._run("decoder", {"pieces": pieces.astype(np.int64), **kept, **past})
        log_probs = outputs.pop("log_probs")
        return log_probs, {name.removeprefix("new_"): value for name, value in outputs.items()}

    def _run(self, name, given):
        if name not in self._sessions:
            path = self.folder / f"{name}.onnx"
            with reading(path, "a graph of this export", COPY_AGAIN):
                self._sessions[name] = onnxruntime.InferenceSession(
                    str(path), self._options, providers=["CPUExecutionProvider"]
                )
        session = self._sessions[name]
        wanted = {each.name for each in session.get_inputs()}
        given = {key: value for key, value in given.items() if key in wanted}
        advice = f"give it sources of its task, and {COPY_AGAIN} if they are"
        with reading(self.folder / f"{name}.onnx", "a graph that takes its inputs", advice):
            values = session.run(None, given)
        return dict(zip([each.name for each in session.get_outputs()], values))


@dataclass
class Search:
    """Beam search for one source; with a beam of 1 it is greedy."""

    settings: dict
    eos: int
    prompt: list
    limit: int
    finished: list = field(default_factory=list)  # score, log-probability, pieces, has ended
    is_done: bool = False

    def __post_init__(self):
        width = self.settings["beam"]
        self.newest = [self.prompt[-1]] * width
        self.pieces = [[] for _ in range(width)]
        self.log_probs = np.full(width, NEVER, dtype=np.float32)
        self.log_probs[0] = 0.0  # at first all are equal: only one may have continuations

    def advance(self, log_probs_WV):
        """Add a piece to every hypothesis; return which of the earlier ones each goes on from."""
        width, V = log_probs_WV.shape
        totals = (self.log_probs[:, None] + self._allowed(log_probs_WV)).ravel()
        number = min(2 * width, len(totals))
        best = np.argpartition(-totals, number - 1)[:number]
        best = best[np.argsort(-totals[best], kind="stable")]
        origins, newest, scores = best // V, best % V, totals[best]
        self._put_aside(origins, newest, scores)
        going_on = np.argsort(np.where(newest == self.eos, 2 * NEVER, scores) * -1, kind="stable")
        going_on = going_on[:width]
        origins, newest = origins[going_on], newest[going_on]
        self.log_probs = np.where(newest == self.eos, 2 * NEVER, scores[going_on])
        self.pieces = [[*self.pieces[o], int(p)] for o, p in zip(origins, newest)]
        self.newest = newest.tolist()
        self.is_done = self._is_done()
        return origins

    def _allowed(self, log_probs_WV):
        settings, length = self.settings, len(self.pieces[0])
        log_probs_WV = log_probs_WV.copy()
        log_probs_WV[:, settings["suppressed"]] = NEVER
        if length == 0:
            log_probs_WV[:, settings["suppressed_first"]] = NEVER
        if settings["no_repeat"]:
            for row, pieces in zip(log_probs_WV, self.pieces):
                row[repeating([*self.prompt, *pieces], settings["no_repeat"])] = NEVER
        if settings["end_at_limit"] and length + 1 == self.limit:
            log_probs_WV[:] = NEVER
            log_probs_WV[:, self.eos] = 0.0
        return log_probs_WV

    def _penalty(self, length):
        if self.settings["stopping"] == "bound":  # Wu et al. 2016, equation 14
            return ((5.0 + length) / 6.0) ** self.settings["length_penalty"]
        return float(length + self.settings["counted_prompt"]) ** self.settings["length_penalty"]

    def _put_aside(self, origins, newest, scores):
        width, length = self.settings["beam"], len(self.pieces[0]) + 1
        is_bound = self.settings["stopping"] == "bound"
        for origin, piece, log_prob in list(zip(origins, newest, scores))[:width]:
            ends = piece == self.eos
            if log_prob <= NEVER / 2 or not (ends or (length >= self.limit and not is_bound)):
                continue
            if is_bound and len(self.finished) >= width:
                continue
            pieces = [*self.pieces[origin], *([] if ends else [int(piece)])]
            self._finish(float(log_prob), length, pieces, bool(ends))
            if len(self.finished) > width:
                self.finished.remove(min(self.finished, key=lambda one: one[0]))

    def _finish(self, log_prob, length, pieces, ended):
        self.finished.append((log_prob / self._penalty(length), log_prob, pieces, ended))

    def _is_done(self):
        width, stopping, length = (
            self.settings["beam"],
            self.settings["stopping"],
            len(self.pieces[0]),
        )
        best_open = float(self.log_probs[0])
        scores = sorted((one[0] for one in self.finished), reverse=True)
        if length >= self.limit:
            if not scores and best_open > NEVER / 2:
                self._finish(best_open, length, self.pieces[0], False)
            return True
        if len(scores) >= width:
            is_worse = best_open / self._penalty(length) <= scores[-1]
            if stopping != "heuristic" or width == 1 or is_worse:
                return True
        # At best an open hypothesis keeps its log-probability, over the largest penalty.
        reachable = best_open / self._penalty(self.limit + 1)
        return stopping == "bound" and bool(scores) and scores[0] >= reachable


@contextlib.contextmanager
def reading(path, what, advice):
    """Make one message of whatever is raised by a file that is missing or damaged."""
    try:
        yield
    except Exception as error:  # onnxruntime, wave, zipfile, NumPy: each has errors of its own
        reason = str(error) or "it ends too early"
        if isinstance(error, OSError) and error.strerror:  # a name that leads to no such file
            reason = error.strerror
            advice = advice if advice == COPY_AGAIN else "look at its name"
        raise ValueError(f"{path}: must be {what}, but: {reason}; {advice}") from error


def described(path):
    """Return what export.json says, of which every part is there."""
    with reading(path, "the description of an export", COPY_AGAIN):
        about = json.loads(path.read_text(encoding="utf-8"))
        require(about, ABOUT, "")
        for number, task in enumerate(about["tasks"]):
            require(task, TASK, f"tasks[{number}].")
        require(about["decoding"], DECODING, "decoding.")
        if any(task["modality"] == "speech" for task in about["tasks"]):
            require(about["features"], FEATURES, "features.")
            own = WHISPER if about["features"]["kind"] == "whisper" else KALDI
            require(about["features"], own, "features.")
        require_ids(about)
        return about


def require(found, types, where):
    """Require of an object that it has all names, with values of their types."""
    if not isinstance(found, dict):
        raise ValueError(f"{where.strip('.') or 'it'} is no object")
    for name, wanted in types.items():
        if name not in found:
            raise ValueError(f"{where}{name} is missing")
        if not isinstance(found[name], wanted):
            raise ValueError(f"{where}{name} has the wrong type")


def require_ids(about):
    """Require that every number of a piece is one, and that every task has a prompt."""
    names = ("source_prefix", "source_suffix", "prompt")
    found = [number for task in about["tasks"] for name in names for number in task[name]]
    found += [
        number for name in ("suppressed", "suppressed_first") for number in about["decoding"][name]
    ]
    for number in (*found, about["eos"]):
        if not isinstance(number, int) or not 0 <= number < len(about["pieces"]):
            raise ValueError(f"{number!r} is none of its {len(about['pieces'])} pieces")
    if not all(task["prompt"] for task in about["tasks"]):
        raise ValueError("a task has no prompt")


def repeating(pieces, size):
    """Return the pieces after which the last ``size`` would all have been in a row before."""
    last = pieces[len(pieces) - size + 1 :] if size > 1 else []
    ends = range(size - 1, len(pieces))
    return [pieces[end] for end in ends if pieces[end - size + 1 : end] == last]


def cut(text, ids, byte_ids):
    """Return byte-pair pieces: neighbours are joined, the pair with the smallest id first."""
    parts = list(" " + text)
    left, right = list(range(-1, len(parts) - 1)), list(range(1, len(parts) + 1))
    queue = []

    def offer(i, j):
        if i >= 0 and j < len(parts) and (joined := parts[i] + parts[j]) in ids:
            heapq.heappush(queue, (ids[joined], i, j, joined))

    for i in range(len(parts) - 1):
        offer(i, i + 1)
    while queue:
        _, i, j, joined = heapq.heappop(queue)
        if not parts[i] or not parts[j] or right[i] != j or parts[i] + parts[j] != joined:
            continue  # one of them has become part of another piece since
        parts[i], parts[j], right[i] = joined, "", right[j]
        if right[j] < len(parts):
            left[right[j]] = i
        offer(left[i], i)
        offer(i, right[i])
    found = []
    for part in filter(None, parts):
        found += [ids[part]] if part in ids else [byte_ids[byte] for byte in part.encode()]
    return found


def array(path, what, dimensions):
    """Return the numbers of a .npy file as float32."""
    with reading(path, f"a .npy file of {what}", "write it anew with numpy.save"):
        numbers = np.load(path)
        if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "fiu":
            raise ValueError("it holds no numbers, or several arrays")
        if numbers.ndim != dimensions or not numbers.size:
            raise ValueError(f"its shape is {list(numbers.shape)}")
        if not np.isfinite(numbers).all():
            raise ValueError("some of its numbers are not finite")
        return numbers.astype(np.float32)


def waveform(path, rate_hz):
    """Return a recording as float32 [N] at a rate, the mean of its channels."""
    if path.suffix == ".npy":  # at the model's rate already
        return array(path, "a waveform, [samples]", 1)
    advice = "convert it, for example with sox"
    with reading(path, "a WAV file of PCM", advice), wave.open(str(path), "rb") as file:
        own_hz, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
        frames = file.readframes(file.getnframes())
        # What was written through a pipe says that it has 2 GiB or more, and no other number.
        is_piped = file.getnframes() * width * channels >= 2**31 - 2**16
        if not is_piped and len(frames) < file.getnframes() * width * channels:
            raise ValueError("it is truncated")
        data = np.frombuffer(frames[: len(frames) // (width * channels) * width * channels], "u1")
        if not len(data):
            raise ValueError("it has no samples")
        if not LOWEST_HZ <= own_hz <= HIGHEST_HZ:
            raise ValueError(f"its rate is {own_hz} Hz, not from {LOWEST_HZ} to {HIGHEST_HZ}")
    if width == 1:
        samples = data.astype(np.float32) / 128.0 - 1.0
    else:  # in the upper bytes of 32 bits
        wide = np.zeros((len(data) // width, 4), dtype=np.uint8)
        wide[:, 4 - width :] = data.reshape(-1, width)
        samples = wide.view("<i4")[:, 0].astype(np.float32) / 2.0**31
    samples = samples.reshape(-1, channels).mean(axis=1)
    return samples if own_hz == rate_hz else resample(samples, own_hz, rate_hz)


def resample(samples, own_hz, rate_hz):
    """Return a waveform at another rate: its spectrum, cut or filled up with zeros."""
    number = round(len(samples) * rate_hz / own_hz)
    spectrum = np.fft.rfft(samples)
    changed = np.zeros(number // 2 + 1, dtype=spectrum.dtype)
    kept = min(len(spectrum), len(changed))
    changed[:kept] = spectrum[:kept]
    return (np.fft.irfft(changed, n=number) * (number / len(samples))).astype(np.float32)


def log_mel(samples, settings, window, filters):
    """Return features, [N] to float32 [S, F], in the way of Whisper or of Kaldi."""
    if settings["kind"] == "whisper":
        return whisper_log_mel(samples, settings, window, filters)
    size, hop = settings["window_samples"], settings["hop_samples"]
    if len(samples) < size:
        return np.zeros((0, filters.shape[1]), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop].astype(np.float32)
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectrum = np.fft.rfft((frames - settings["preemphasis"] * before) * window, settings["fft"])
    energies = (np.abs(spectrum) ** 2).astype(np.float32) @ filters
    features = np.log(np.maximum(energies, settings["floor"]))
    if settings["normalisation"] == "utterance":
        features = features - features.mean(axis=0)
        variance = (features**2).mean(axis=0)
        features = features / np.sqrt(np.maximum(variance, settings["variance_floor"]))
    return features.astype(np.float32)


def whisper_log_mel(samples, settings, window, filters):
    """Return Whisper's features, of a waveform that is filled up with silence where it asks so."""
    size, hop = settings["window_samples"], settings["hop_samples"]
    longest = round(settings["padded_seconds"] * settings["sample_rate_hz"])
    if 0 < longest < len(samples):
        raise ValueError(f"a recording must last at most {settings['padded_seconds']:g} s: cut it")
    number = max(len(samples), longest) // hop
    missing = max(max(longest, size // 2 + 1) - len(samples), 0)
    padded = np.pad(np.pad(samples, (0, missing)), size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:number]
    spectrum = np.fft.rfft(frames * window)
    energies = (np.abs(spectrum) ** 2).astype(np.float32) @ filters
    logarithms = np.log10(np.maximum(energies, 1e-10))
    logarithms = np.maximum(logarithms, logarithms.max(initial=-10.0) - 8.0)
    return ((logarithms + 4.0) / 4.0).astype(np.float32)


def number(least, most):
    """Return what reads a whole number of the command line."""

    def read(text):
        if not text.removeprefix("-").isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}, but is {text!r}")
        return int(text)

    return read


def main():
    """Decode the files of the command line."""
    parser = argparse.ArgumentParser(description="Decode with the models beside this file.")
    parser.add_argument("files", nargs="+", help="recordings (WAV); text files; arrays (.npy)")
    parser.add_argument("--task", required=True)
    beams, threads = number(1, WIDEST_BEAM), number(0, 1_024)
    parser.add_argument("--beam", type=beams, help="1: greedy; default: the model's own")
    parser.add_argument("--threads", type=threads, default=0, help="default: as many as cores")
    options = parser.parse_args()
    model = Model(Path(__file__).parent, threads=options.threads)
    if options.task not in model.tasks:
        parser.error(f"--task must be one of {', '.join(model.tasks)}, but is {options.task!r}")
    if model.task(options.task)["modality"] == "text":
        lines = [line for name in options.files for line in lines_of(Path(name))]
        sources = [model.cut(line) for line in lines if line.strip()]
        found = iter(model.decode(options.task, sources, beam=options.beam))
        texts = [next(found).text if line.strip() else "" for line in lines]
    else:
        sources = [model.read(options.task, name) for name in options.files]
        texts = [one.text for one in model.decode(options.task, sources, beam=options.beam)]
    for text in texts:
        print(" ".join(text.splitlines()))
    sys.stdout.flush()


def lines_of(path):
    """Return the lines of a text file."""
    with reading(path, "a text file in UTF-8", "convert it, for example with iconv"):
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # whoever read the output stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)
    except (LookupError, TypeError) as error:
        about = Path(__file__).with_name("export.json")
        sys.exit(f"decode.py: {about}: must be of the graphs beside it, but: {error}; {COPY_AGAIN}")
    except (ValueError, OSError, MemoryError) as error:
        sys.exit(f"decode.py: {error or 'there is not enough memory'}")
