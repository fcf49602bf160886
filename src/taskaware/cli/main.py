"""``taskaware``: the entry point, and how errors reach the user."""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

import taskaware
from taskaware.cli import (
    augment,
    data,
    demo,
    evaluate,
    import_model,
    inspect,
    predict,
    prepare,
    study,
    train,
)
from taskaware.errors import TaskawareError

app = App(
    name="taskaware",
    help="Train one Transformer on many tasks - speech recognition, speech translation, machine "
    "translation, any source to text - and use it for all of them.",
    version=taskaware.__version__,
    help_format="markdown",
)
app.command(demo.demo)
app.command(prepare.prepare)
app.command(data.app)
app.command(augment.app)
app.command(train.train)
app.command(study.study)
app.command(evaluate.evaluate)
app.command(predict.predict)
app.command(inspect.inspect)
app.command(import_model.import_model, name="import")


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit with 0, 1 (failure), 2 (misuse) or 130 (interrupted)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    try:
        return (
            app(arguments, exit_on_error=False, print_error=True, result_action="return_value") or 0
        )
    except CycloptsError:
        return 2
    except TaskawareError as error:
        print(f"taskaware: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ntaskaware: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    main()
