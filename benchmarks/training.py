"""Training speed side by side: the same data, vocabulary, sizes and batches of 64 sentences.

    benchmarks/peers/install.sh
    python benchmarks/training.py CORPUS WORK --threads 1 --seconds 60

`CORPUS` holds Multi30k's files (`train.de.gz`, ...). Every system trains alone, bound to as many
cores as it has threads, in turns, `--repeats` times; its own log says how fast. Prints a table of
medians in Markdown, and JSON to `--json`. All in float32; `ours_bfloat16` is this project's under
`mixed_bfloat16` (of `naive` and `tutorial` on demand). OpenNMT-py's encoder has 256 units in each
direction: it allows no more with a decoder of 512.
`--before FOLDER` measures an earlier build as well (`pip install --no-deps --target FOLDER ...`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import data
import yaml

HERE = Path(__file__).resolve().parent
BEFORE = "before"
OWN = ("ours", BEFORE, "ours_bfloat16", "naive", "tutorial", "naive_bfloat16", "tutorial_bfloat16")
# What a peer says of its speed: target tokens a second.
LOGGED = {
    "joeynmt": r"Tokens per Sec:\s+([\d.]+)",
    "opennmt_tf": r"\(\d+ source, (\d+) target\)",
    "opennmt_py": r"\d+/\s*(\d+) tok/s",
    "marian": r"([\d.]+) words/s",
}
MEASURED = ("ours", "ours_bfloat16", "naive", "tutorial", *LOGGED)
# Seconds until a system has to have begun.
LONGEST_START = 240
# The first reports hold tracing and warming up.
LEFT_OUT = 1


def command(system: str, work: Path, environments: Path, threads: int, seconds: float) -> list[str]:
    """The program that trains a system; writes what it is configured by."""
    if system in OWN:
        name = "ours" if system == BEFORE else system
        program = [sys.executable, str(HERE / "keras_systems.py"), name, str(work)]
        return [*program, "--threads", str(threads), "--seconds", str(seconds)]
    binaries = environments / system / "bin"
    folder = work / system
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pieces = (work / "joint.vocab").read_text(encoding="utf-8")
    if system == "joeynmt":
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_joeynmt(work, folder, threads)), encoding="utf-8")
        return [str(binaries / "python"), "-m", "joeynmt", "train", str(config)]
    if system == "opennmt_tf":
        (folder / "vocabulary").write_text(f"<blank>\n<s>\n</s>\n{pieces}", encoding="utf-8")
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_opennmt_tf(work, folder)), encoding="utf-8")
        model = str(HERE / "peers" / "opennmt_tf_model.py")
        threading = ["--intra_op_parallelism_threads", str(threads)]
        threading += ["--inter_op_parallelism_threads", "1"]
        options = [*threading, "--model", model, "--config", str(config), "train"]
        return [str(binaries / "onmt-main"), *options]
    if system == "opennmt_py":
        (folder / "vocabulary").write_text(pieces, encoding="utf-8")
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_opennmt_py(work, folder, threads)), encoding="utf-8")
        return [str(binaries / "onmt_train"), "-config", str(config)]
    return [str(binaries / "pymarian"), "train", *_marian(work, folder, threads)]


def _joeynmt(work: Path, folder: Path, threads: int) -> dict[str, Any]:
    side = {
        "level": "word",
        "lowercase": False,
        "max_length": data.MAX_LENGTH,
        "voc_file": str(work / "joint.vocab"),
    }
    rnn = {"rnn_type": "gru", "hidden_size": 512, "num_layers": 1, "dropout": 0.2}
    embeddings = {"embeddings": {"embedding_dim": 256, "dropout": 0.2}}
    return {
        "name": "benchmark",
        "model_dir": str(folder / "model"),
        "use_cuda": False,
        "random_seed": 1,
        "data": {
            "train": str(work / "train"),
            "dev": str(work / "val"),
            "dataset_type": "plain",
            "src": {"lang": "de", **side},
            "trg": {"lang": "en", **side},
        },
        "testing": {"beam_size": 1, "batch_size": 64},
        "training": {
            "optimizer": "adam",
            "learning_rate": 0.001,
            "scheduling": "exponential",
            "batch_size": 64,
            "batch_type": "sentence",
            "epochs": 100,
            "validation_freq": 10**6,
            "logging_freq": 10,
            "label_smoothing": 0.1,
            "overwrite": True,
        },
        "model": {
            "tied_embeddings": False,
            "encoder": {"type": "recurrent", "bidirectional": True, **rnn, **embeddings},
            "decoder": {
                "type": "recurrent",
                "attention": "bahdanau",
                "init_hidden": "bridge",
                "input_feeding": True,
                **rnn,
                **embeddings,
            },
        },
    }


def _opennmt_tf(work: Path, folder: Path) -> dict[str, Any]:
    return {
        "model_dir": str(folder / "model"),
        "data": {
            "train_features_file": str(work / "train.de"),
            "train_labels_file": str(work / "train.en"),
            "source_vocabulary": str(folder / "vocabulary"),
            "target_vocabulary": str(folder / "vocabulary"),
        },
        "params": {"optimizer": "Adam", "learning_rate": 0.001, "label_smoothing": 0.1},
        "train": {
            "batch_size": 64,
            "batch_type": "examples",
            "length_bucket_width": 5,
            "maximum_features_length": data.MAX_LENGTH,
            "maximum_labels_length": data.MAX_LENGTH,
            "save_summary_steps": 10,
            "save_checkpoints_steps": 10**6,
        },
    }


def _opennmt_py(work: Path, folder: Path, threads: int) -> dict[str, Any]:
    return {
        "data": {
            "corpus": {"path_src": str(work / "train.de"), "path_tgt": str(work / "train.en")}
        },
        "src_vocab": str(folder / "vocabulary"),
        "tgt_vocab": str(folder / "vocabulary"),
        "save_model": str(folder / "model"),
        "encoder_type": "brnn",
        "decoder_type": "rnn",
        "rnn_type": "GRU",
        "hidden_size": 512,
        "word_vec_size": 256,
        "layers": 1,
        "global_attention": "mlp",
        "dropout": [0.2],
        "label_smoothing": 0.1,
        "optim": "adam",
        "learning_rate": 0.001,
        "batch_type": "sents",
        "batch_size": 64,
        "bucket_size": 3200,
        "train_steps": 10**6,
        "save_checkpoint_steps": 10**6,
        "report_every": 10,
        "num_workers": 0,
        "world_size": 1,
        "gpu_ranks": [],
    }


def _marian(work: Path, folder: Path, threads: int) -> list[str]:
    vocabularies = [str(folder / f"{side}.yml") for side in data.SIDES]
    options = {
        "--type": ["s2s"],
        "--enc-type": ["bidirectional"],
        "--enc-cell": ["gru"],
        "--dec-cell": ["gru"],
        "--dec-cell-base-depth": ["2"],
        "--dim-emb": ["256"],
        "--dim-rnn": ["512"],
        "--train-sets": [str(work / f"train.{side}") for side in data.SIDES],
        "--vocabs": vocabularies,
        "--model": [str(folder / "model.npz")],
        "--mini-batch": ["64"],
        "--dropout-rnn": ["0.2"],
        "--label-smoothing": ["0.1"],
        "--learn-rate": ["0.001"],
        "--disp-freq": ["10u"],
        "--cpu-threads": [str(threads)],
        "--workspace": ["1024"],
        "--max-length": [str(data.MAX_LENGTH)],
        "--seed": ["1"],
    }
    return [word for name, values in options.items() for word in (name, *values)]


def environment(threads: int) -> dict[str, str]:
    """Variables of a process that is measured: its threads, no GPU, nothing of this process's."""
    variables = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        # Checkpoints of torch 2.13 are refused without it.
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "PYTHONUNBUFFERED": "1",
    }
    variables.pop("PYTHONPATH", None)
    return variables


def run(
    system: str,
    program: list[str],
    threads: int,
    seconds: float,
    log: Path,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Lets a system train for some time, and reads how fast it was.

    `folder` holds the build of this project to run in place of the installed one.
    """
    variables = environment(threads)
    if folder is not None:
        variables["PYTHONPATH"] = str(folder)
    cores = sorted(os.sched_getaffinity(0))[:threads]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            program,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    peak = 0.0
    deadline = time.monotonic() + LONGEST_START
    reported = system in OWN  # These end by themselves.
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
        peak = max(peak, _peak_mib(process.pid))
        # For the others, time begins with their first report.
        if not reported and re.search(LOGGED[system], _read(log)):
            reported, deadline = True, time.monotonic() + seconds
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    text = _read(log)
    extra: dict[str, float] = {}
    if system in OWN:
        answer = re.findall(r"^\{.*\}$", text, re.MULTILINE)
        figures = json.loads(answer[-1]) if answer else {}
        speed = figures.get("target_tokens_per_second")
        if system == "ours" and speed:
            share = figures["mflops_of_target_token"] * speed / 1000 / figures["sgemm_gflops"]
            extra = {
                "mflops_of_target_token": figures["mflops_of_target_token"],
                "sgemm_gflops": figures["sgemm_gflops"],
                "share_of_sgemm": share,
            }
    else:
        speeds = [float(each) for each in re.findall(LOGGED[system], text)][LEFT_OUT:]
        speed = statistics.median(speeds) if speeds else None
    return {"target_tokens_per_second": speed, "peak_mib": peak, **extra}


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _peak_mib(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Runs all systems that are there, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peers", type=Path, default=HERE / "peers" / ".venv")
    parser.add_argument("--systems", nargs="*", default=MEASURED)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, help="folder of an earlier build")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if BEFORE in options.systems:
        parser.error(f"{BEFORE} is measured with --before FOLDER: omit it from --systems.")
    data.prepare(options.corpus, options.work)
    found: dict[str, list[dict[str, Any]]] = {}
    systems = [*options.systems, *([BEFORE] if options.before else [])]
    for repeat in range(options.repeats):
        for system in systems:
            if system not in OWN and not (options.peers / system).is_dir():
                continue
            program = command(system, options.work, options.peers, options.threads, options.seconds)
            log = options.work / f"{system}.{repeat}.log"
            folder = options.before if system == BEFORE else None
            result = run(system, program, options.threads, options.seconds, log, folder)
            print(f"{system}: {result}", file=sys.stderr)
            found.setdefault(system, []).append(result)
    report = {}
    for system, results in found.items():
        speeds = [each["target_tokens_per_second"] for each in results]
        speeds = [speed for speed in speeds if speed]
        report[system] = {
            "target_tokens_per_second": statistics.median(speeds) if speeds else None,
            "lowest": min(speeds, default=None),
            "highest": max(speeds, default=None),
            "peak_mib": statistics.median(each["peak_mib"] for each in results),
        }
    own = report.get("ours", {}).get("target_tokens_per_second")
    print(
        f"| training, {options.threads} thread(s) | target tokens/s | range | ours is | peak MiB |"
    )
    print("|---|---|---|---|---|")
    for system, row in report.items():
        speed = row["target_tokens_per_second"]
        if not speed:
            print(f"| {system} | did not run | | | |")
            continue
        ratio = f"{own / speed:.2f} x" if own else ""
        print(
            f"| {system} | {speed:,.0f} | {row['lowest']:,.0f} to {row['highest']:,.0f} | {ratio} "
            f"| {row['peak_mib']:,.0f} |"
        )
    shares = [each for each in found.get("ours", []) if "share_of_sgemm" in each]
    if shares:
        median = {name: statistics.median(each[name] for each in shares) for name in shares[0]}
        print(
            f"\nA target token takes {median['mflops_of_target_token']:.0f} MFLOP forward and back "
            f"in the products of ours; one large product alone reaches "
            f"{median['sgemm_gflops']:.0f} GFLOP/s here, and ours {median['share_of_sgemm']:.0%} "
            "of that."
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
