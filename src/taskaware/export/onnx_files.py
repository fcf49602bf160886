"""A model as ONNX files, and what the program that decodes with them is told.

::

    encoder_speech.onnx   source, lengths, t_e -> what the decoder looks at (_text, _features alike)
    decoder.onnx          one step: pieces, the past, t_e -> log-probabilities, a longer past
    features.npz          window and filters of the features, where there is a task for speech
    export.json           tasks with their t_e and prompts, features, search, pieces
    decode.py             decodes with all this; needs onnxruntime and numpy
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from taskaware.errors import CheckpointError, UserError, require_packages
from taskaware.export.onnx_description import describe, feature_constants
from taskaware.export.onnx_graphs import EncoderGraph, StepGraph, exportable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Modality, StageProgress

_SCRIPT = Path(__file__).parent / "standalone" / "decode.py"
DESCRIPTION = "export.json"
_NEVER = -1e30
_OPSET = 18
_LARGEST_BYTES = 2**31 - 2**27  # protocol buffers end at 2 GiB; larger weights lie beside the graph
# Sizes of the example that is traced; any others will do as well.
_EXAMPLES, _WIDTH, _LONGEST, _PIECES = 3, 4, 48, 5


@dataclass(frozen=True, kw_only=True)
class WrittenGraph:
    """A file that holds a graph.

    Attributes:
        name: Of the file.
        difference: The largest difference of an output from PyTorch's on random inputs of other
            sizes than the graph was made with, as a share of the largest output.
    """

    name: str
    difference: float


def write_onnx(
    model: TaskAwareModel,
    folder: Path,
    *,
    int8: bool = False,
    progress: StageProgress = lambda *_: None,
) -> list[WrittenGraph]:
    """Write all files into an empty folder.

    Args:
        model: Any; one with adapters must have one task.
        folder: Where.
        int8: Whether the weights of matrix products and embeddings become whole numbers of 8 bits.
        progress: Called before each graph with what it is, its number, and how many there are.

    Raises:
        MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
        UserError: The model has adapters, and several tasks.
        CheckpointError: A task has no embedding.
    """
    require_packages("an ONNX file", "export", "onnx", "onnxscript", "onnxruntime")
    missing = [task.name for task in model.tasks if task.name not in model.task_embeddings]
    if model.settings.conditioning.has_task_network and missing:
        raise CheckpointError(
            "a model must have an embedding of each of its tasks for one ONNX file, but has "
            f"none of {', '.join(missing)}: train it on examples of them, or export one that has "
            "some as plain first, and that as onnx"
        )
    transformer = _exportable(model)
    modalities: list[Modality] = list(dict.fromkeys(task.source_modality for task in model.tasks))
    width = next((value.shape[1] for value in model.task_embeddings.values()), 0)
    graphs: list[_Graph] = [
        *(_encoder(model, transformer, modality, width) for modality in modalities),
        _decoder(model, transformer, width, is_transposed=int8),
    ]
    written = []
    for number, graph in enumerate(graphs):
        progress(f"{graph.name}.onnx", number, len(graphs))
        written.append(_write(graph, folder, int8=int8))
    if "speech" in modalities:
        window, filters = feature_constants(model.feature_settings)
        np.savez(folder / "features.npz", window=window, filters=filters)
    (folder / "decode.py").write_bytes(_SCRIPT.read_bytes())
    text = json.dumps(describe(model), ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return written


def _exportable(model: TaskAwareModel) -> TaskAwareTransformer:
    """Return a copy for graphs, in which the adapters of the only task act where there are some."""
    adapters = model.transformer.adapters
    if not adapters.tasks:
        return exportable(model.transformer)
    first, *others = model.tasks
    if others:
        raise UserError(
            "a model with adapters must have one task for an ONNX file, as tasks have weights of "
            f"their own there, but has {len(model.tasks)}"
        )
    with adapters.use(first.name):  # a copy is as the model is just then
        return exportable(model.transformer)


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """What is exported: a module, what its inputs are called, and examples of them.

    Attributes:
        name: Of the file, without its ending.
        module: What computes it.
        example: Makes inputs of the sizes given (examples, width, positions, pieces).
        inputs: The names of the inputs, lists flattened.
        outputs: The names of the outputs.
        axes: For each input which axes are of any size, by name.
    """

    name: str
    module: nn.Module
    example: Callable[[int, int, int, int], tuple[Any, ...]]
    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: tuple[Any, ...]


def _encoder(
    model: TaskAwareModel, transformer: TaskAwareTransformer, modality: Modality, width: int
) -> _Graph:
    V, F = model.vocabulary.size, model.settings.num_features

    def example(B: int, _: int, S: int, __: int) -> tuple[Any, ...]:
        source = torch.randint(V, (B, S)) if modality == "text" else torch.randn(B, S, F)
        lengths = torch.tensor([S, *torch.randint(max(S // 2, 1), S + 1, (B - 1,)).tolist()])
        return (source, lengths, *_embedding(B, width))

    blocks = range(2 * model.settings.num_decoder_layers)
    is_prepended = width > 0 and transformer.acts_by == "prepend"
    past = [f"past_{i}" for i in blocks] if is_prepended else []
    task = ["task_embedding"] if width else []
    return _Graph(
        name=f"encoder_{modality}",
        module=EncoderGraph(transformer, modality),
        example=example,
        inputs=["source", "lengths", *task],
        outputs=["memory_mask", *(f"memory_{i}" for i in blocks), *past],
        axes=({0: "sources", 1: "length"}, {0: "sources"}, *[{0: "sources"} for _ in task]),
    )


def _decoder(
    model: TaskAwareModel, transformer: TaskAwareTransformer, width: int, *, is_transposed: bool
) -> _Graph:
    settings = model.settings
    V, H, E = model.vocabulary.size, settings.num_heads, settings.d_model // settings.num_heads
    blocks = range(2 * settings.num_decoder_layers)

    def example(B: int, W: int, S: int, T: int) -> tuple[Any, ...]:
        mask = torch.arange(S)[None] < torch.tensor([S, *[max(S - 1, 1)] * (B - 1)])[:, None]
        memory = [torch.randn(B, H, S, E) for _ in blocks]
        past = [torch.randn(B * W, H, T, E) for _ in blocks]
        return (torch.randint(V, (B, W)), mask, memory, past, *_embedding(B, width))

    task = ["task_embedding"] if width else []
    return _Graph(
        name="decoder",
        module=StepGraph(transformer, model.vocabulary.NEVER, is_transposed=is_transposed),
        example=example,
        inputs=[
            *("pieces", "memory_mask"),
            *(f"memory_{i}" for i in blocks),
            *(f"past_{i}" for i in blocks),
            *task,
        ],
        outputs=["log_probs", *(f"new_past_{i}" for i in blocks)],
        axes=(
            {0: "sources", 1: "width"},
            {0: "sources", 1: "positions"},
            [{0: "sources", 2: "positions"} for _ in blocks],
            [{0: "hypotheses", 2: "pieces_so_far"} for _ in blocks],
            *[{0: "sources"} for _ in task],
        ),
    )


def _embedding(num_examples: int, width: int) -> tuple[Tensor, ...]:
    return (1.0 + 0.1 * torch.randn(num_examples, width),) if width else ()


def _write(graph: _Graph, folder: Path, *, int8: bool) -> WrittenGraph:
    path = folder / f"{graph.name}.onnx"
    size = sum(each.numel() * each.element_size() for each in graph.module.parameters())
    with _quiet(), torch.random.fork_rng(devices=[]), torch.inference_mode(mode=False):
        torch.manual_seed(0)
        program = torch.onnx.export(
            graph.module.eval(),
            graph.example(_EXAMPLES, _WIDTH, _LONGEST, _PIECES),
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=graph.axes,
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        _forget_source_code(program.model.graph)
        program.save(str(path), external_data=size > _LARGEST_BYTES)
        if int8:
            _quantise(path, is_large=size > _LARGEST_BYTES)
        inputs = graph.example(2, 3, _LONGEST // 2, 2)
        return WrittenGraph(name=path.name, difference=_difference(graph, path, inputs))


def _forget_source_code(graph: Any) -> None:
    """Delete what the exporter notes of each operation: lines of source, by their paths."""
    for node in graph.all_nodes():
        node.metadata_props.clear()


def _difference(graph: _Graph, path: Path, inputs: tuple[Any, ...]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    flat = [one for each in inputs for one in (each if isinstance(each, list) else [each])]
    known = {each.name for each in session.get_inputs()}
    given = {name: value.numpy() for name, value in zip(graph.inputs, flat, strict=True)}
    found = session.run(None, {name: value for name, value in given.items() if name in known})
    shares = [0.0]
    for ours, theirs in zip(graph.module(*inputs), found, strict=True):
        wanted = ours.double()
        kept = wanted > _NEVER / 2
        difference = (torch.from_numpy(np.asarray(theirs)).double() - wanted)[kept].abs().max()
        shares.append(float(difference / wanted[kept].abs().max().clamp_min(1e-30)))
    return max(shares)


def _quantise(path: Path, *, is_large: bool) -> None:
    """Make the weights of a file's products and its embedding whole numbers of 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = path.with_suffix(".int8")
    quantize_dynamic(
        str(path),
        str(made),
        op_types_to_quantize=["MatMul", "Gather"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        use_external_data_format=is_large,
        extra_options={"MatMulConstBOnly": True},
    )
    made.replace(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says of its own inside."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
