"""Training commands: `train`, `study`, `demo`; and `doctor`."""

from __future__ import annotations

import argparse
import contextlib
import json

from keras_attn_nmt.cli.arguments import UsageError
from keras_attn_nmt.cli.options import (
    Commands,
    above_zero,
    add_recipe,
    add_recipe_values,
    positive,
    utf8_text,
    whole,
)
from keras_attn_nmt.quiet import quiet_stderr, stdout_to_stderr
from keras_attn_nmt.writing import check_folder_output

# Seconds that a process waits for the others.
WAIT = 120


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "train",
        train,
        "Train a model from a recipe.",
        "multi30k --output model --set training.epochs=8",
    )
    add_recipe(command, output="model directory to write")
    command.add_argument(
        "--resume",
        action="store_true",
        help="resume an interrupted run, or continue a finished one with another "
        "--set training.epochs=N",
    )
    command.add_argument(
        "--from",
        dest="parent",
        metavar="MODEL",
        help="begin with the weights and vocabularies of this model directory, whose settings the "
        "recipe must not contradict (mine.toml --from model --output adapted)",
    )
    command.add_argument(
        "--keep-optimizer",
        action="store_true",
        help="with --from: begin with the optimizer's state of its checkpoint, too",
    )
    group = command.add_argument_group(
        "several processes", "of the same training, each with the same command but --process"
    )
    group.add_argument(
        "--processes", type=positive, default=1, metavar="N", help="number of processes"
    )
    group.add_argument("--process", type=whole, metavar="I", help="number of this process, from 0")
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where process 0 listens for the others"
    )
    group.add_argument(
        "--wait",
        type=above_zero,
        metavar="SECONDS",
        help=f"how long to wait for the other processes at the start (default: {WAIT})",
    )

    command = commands.add(
        "study",
        study,
        "Compare attention with baselines without attention, and plot BLEU by sentence length.",
        "multi30k --output study --set data.concatenate=80 --set data.max_length=160",
    )
    add_recipe(command, output="output directory")
    command.add_argument(
        "--systems",
        nargs="+",
        metavar="NAME",
        help="subset of systems to train: attention, fixed-vector, ... (default: all)",
    )

    command = commands.add(
        "demo",
        demo,
        "Train on generated phrases, translate and plot attention (a few minutes).",
        '--output demo --sentence "zweiundvierzig"',
    )
    command.add_argument("--output", default="demo", metavar="DIR", help="output directory (demo)")
    command.add_argument(
        "--sentence",
        type=utf8_text,
        metavar="TEXT",
        help="replace the last demo sentence with this German one",
    )
    add_recipe_values(command)

    commands.add("doctor", doctor, "Report versions, devices and detected problems.", "--json")


def train(options: argparse.Namespace) -> None:
    check_folder_output(options.output)
    # On JAX, TensorFlow is imported only here, with messages that no setting silences.
    with quiet_stderr():
        from keras_attn_nmt import training
        from keras_attn_nmt.training.cluster import Cluster
        from keras_attn_nmt.training.distribution import check_backend
        from keras_attn_nmt.training.parents import has_parent
        from keras_attn_nmt.training.tf_config import connect_workers, warn_of_unused_task

    if options.keep_optimizer and options.parent is None:
        raise UsageError("--keep-optimizer needs --from MODEL, whose optimizer it keeps.")
    # An interrupted run holds the settings that it has from its parent, which may be gone.
    begun = options.resume and has_parent(options.output)
    recipe = training.load_recipe(
        options.recipe, options.set, parent=options.output if begun else options.parent
    )
    wait = WAIT if options.wait is None else options.wait
    if recipe.training.distribution == "multi_worker":
        if options.processes > 1 or options.process is not None or options.coordinator:
            raise UsageError(
                "--processes, --process and --coordinator do not go with "
                "training.distribution=multi_worker, whose processes are those of TF_CONFIG."
            )
        cluster = connect_workers(wait)
    else:
        warn_of_unused_task()
        if options.processes > 1 or recipe.training.devices > 1:
            check_backend()  # Before waiting for other processes.
        cluster = Cluster.of(options.processes, options.process, options.coordinator, wait)
    if options.wait is not None and cluster.processes == 1:
        raise UsageError(
            "--wait needs other processes to wait for: --processes above 1, or those of TF_CONFIG."
        )
    # JAX's collectives write to standard output, which is for the report.
    with stdout_to_stderr() if cluster.processes > 1 else contextlib.nullcontext():
        report = training.train(
            recipe,
            options.output,
            parent=options.parent,
            keep_optimizer=options.keep_optimizer,
            resume=options.resume,
            quiet=options.quiet,
            cluster=cluster,
        )
    if not cluster.first:
        return
    if options.json:
        print(json.dumps(report))
    else:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items())
        print(f"{options.output}: best epoch {report['best_epoch']}, {figures}")


def study(options: argparse.Namespace) -> None:
    check_folder_output(options.output)
    from keras_attn_nmt import training
    from keras_attn_nmt.training.study import SYSTEMS, run_study, table

    # Recipes may have it, for other uses.
    name = "model.query_previous_token"
    if name in (each.partition("=")[0].strip() for each in options.set):
        raise UsageError(f"--set {name} has no effect: all systems have the query of the paper.")
    recipe = training.load_recipe(options.recipe, options.set)
    systems = options.systems or tuple(SYSTEMS)
    report = run_study(recipe, options.output, systems, quiet=options.quiet)
    print(json.dumps(report) if options.json else table(report), end="\n" if options.json else "")


def demo(options: argparse.Namespace) -> None:
    check_folder_output(options.output)
    from keras_attn_nmt.export.demo import export_demo
    from keras_attn_nmt.training.demo import run_demo

    report = run_demo(options.output, options.sentence, options.set, export_demo)
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
    if not report["exports_agree"]:
        raise ValueError("The exported models disagree with the trained model, see above.")


def doctor(options: argparse.Namespace) -> None:
    from keras_attn_nmt.training.device import describe_environment

    report = describe_environment()
    if options.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:22} {value}")
