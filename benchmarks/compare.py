"""Times taskaware beside Hugging Face Transformers: ``python benchmarks/compare.py --help``."""

from __future__ import annotations

import argparse
import json
import platform
import warnings
from dataclasses import asdict

import decoding_step
import torch
import training_step
from contestants import DIFFERENCES, TINY, Sizes
from timing import Row, alternate, table

from taskaware.evaluation.machine import processor_name


def main() -> None:
    """Print the machine, a table for training and one for decoding, and one line of JSON."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    _quiet()
    device = torch.device(options.device)
    sizes = TINY if options.tiny else Sizes()
    machine = _machine(device) | {"precision": options.precision}
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    print(f"sizes: {sizes}\n")
    titles = {
        "training": f"One training update of {sizes.num_examples} recordings",
        "decoding": f"Beam {sizes.beam}, {sizes.num_examples} recordings, "
        f"{sizes.decoded_pieces} pieces each",
    }
    measured: dict[str, list[Row]] = {}
    for part, module in (("training", training_step), ("decoding", decoding_step)):
        if options.only in ("", part):
            measured[part] = alternate(
                module.contestants(sizes, device=device, precision=options.precision),
                repetitions=options.repetitions,
                warm_up=options.warm_up,
                device=device,
            )
            print(table(titles[part], measured[part]), end="\n\n")
    print("What differs:", *DIFFERENCES, sep="\n- ", end="\n\n")
    rows = {part: [asdict(row) for row in rows] for part, rows in measured.items()}
    print(json.dumps({"machine": machine, "sizes": asdict(sizes), **rows}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--threads", type=int, default=0, help="of torch on a CPU; 0: its own choice"
    )
    parser.add_argument("--repetitions", type=int, default=10, help="timed rounds")
    parser.add_argument("--warm-up", type=int, default=2, help="rounds before, not timed")
    parser.add_argument("--only", choices=["training", "decoding"], default="")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    return parser.parse_args()


def _machine(device: torch.device) -> dict[str, str | int]:
    import transformers

    return {
        "machine": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else processor_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }


def _quiet() -> None:
    """Keep notices that concern no one here out of the table."""
    import transformers

    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=UserWarning)


if __name__ == "__main__":
    main()
