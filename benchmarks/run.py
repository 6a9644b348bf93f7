"""Runs every benchmark that this machine can run, and writes `RESULTS.md` and `RESULTS.json`.

    python benchmarks/run.py CORPUS --work WORK [--short] [--only TITLE ...]

`CORPUS` holds Multi30k's files (`train.de.gz`, ...). Peers are those that `peers/install.sh` has
installed. `--short`: one thread, one round, this project's own systems, 200 sentences. `--only`
measures some parts again, on the same machine with the same versions, and keeps the others.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ("keras_attn_nmt", "tensorflow", "tensorflow-text", "keras", "ai-edge-litert", "numpy")


def main() -> int:
    """Runs, and writes after each part, so that nothing is lost; 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="for models, data and logs")
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--peers", type=Path, default=HERE / "peers" / ".venv")
    parser.add_argument("--seconds", default="60", help="of each training (60)")
    parser.add_argument("--repeats", default="2", help="of each training (2)")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", nargs="*", help="titles of the parts to measure again")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    model = options.work / ("model_short" if options.short else "model")
    texts = {}
    for side in ("de", "en"):
        texts[side] = options.work / f"test.{side}"
        with gzip.open(options.corpus / f"test_2016_flickr.{side}.gz", "rb") as file:
            lines = file.readlines()
        texts[side].write_bytes(b"".join(lines[:200] if options.short else lines))

    training = [options.corpus, options.work / "training"]
    parts: list[tuple[str, list[object]]] = []
    if options.short:
        systems = ["--systems", "ours", "ours_bfloat16", "naive", "tutorial"]
        arguments = [*training, *systems, "--seconds", "30", "--repeats", "1"]
        parts.append(("Training", ["training.py", *arguments]))
    else:
        for threads in ("1", "2"):
            arguments = [*training, "--peers", options.peers, "--threads", threads]
            arguments += ["--seconds", options.seconds, "--repeats", options.repeats]
            parts.append((f"Training, threads: {threads}", ["training.py", *arguments]))
        peers = ["--peers", options.peers]
        parts.append(("Decoding against peers", ["peer_decoding.py", *training, *peers]))
        parts.append(("Devices against Marian's int8", ["marian_int8.py", *training, *peers]))
        parts.append(("Memory of attention", ["memory.py"]))
    # The greedy model of a few minutes shows speed and parity as well as the best. That of the
    # short form has learned next to nothing: its BLEU means nothing, its exports have to agree.
    sizes = ["data.size=4000", "training.epochs=2", "training.bleu_sentences=100"]
    settings = [f"--set={size}" for size in sizes] if options.short else []
    rounds = ["--rounds", "1"] if options.short else []
    load_size = ["--requests", "500"] if options.short else []
    parts += [
        ("Time to quality", ["quality.py", options.corpus, model, *settings]),
        ("Input pipeline", ["pipeline.py", *training]),
        ("Exported models", ["exports.py", model, texts["de"], texts["en"]]),
        ("Decoding", ["decoding.py", model, texts["de"]]),
        ("Served, 64 at once", ["serving_speed.py", model, texts["de"], *rounds]),
        ("Devices", ["device.py", model, texts["de"], texts["en"], *rounds]),
        ("Under load", ["load.py", model, texts["de"], *load_size]),
    ]

    titles = [title for title, _ in parts]
    report: dict[str, dict] = {"environment": _environment(options), "parts": {}}
    if options.only:
        if unknown := sorted(set(options.only) - set(titles)):
            parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(titles)}")
        if not _path(options, "json").exists():
            parser.error(f"--only needs the other parts in {_path(options, 'json')}: run all first")
        before = json.loads(_path(options, "json").read_text(encoding="utf-8"))
        for name, value in report["environment"].items():
            if name not in ("date", "command") and before["environment"].get(name) != value:
                parser.error(f"the other parts were measured with another {name}: run all again")
        report = before
    failed = False
    for title, program in parts:
        if options.only and title not in options.only:
            continue
        print(f"{title} ...", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, str(HERE / str(program[0])), *map(str, program[1:])],
            stdout=subprocess.PIPE,
            text=True,
        )
        text = done.stdout.strip() or "did not run"
        failed |= done.returncode != 0
        report["parts"][title] = text if done.returncode == 0 else f"{text}\n\n(failed)"
        report["parts"] = {
            name: report["parts"][name] for name in titles if name in report["parts"]
        }
        _write(options, report)
    return int(failed)


def _environment(options: argparse.Namespace) -> dict[str, object]:
    cpu = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    vectors = next((name for name in ("avx512f", "avx2") if name in flags), "")
    return {
        "date": datetime.date.today().isoformat(),
        "command": f"python benchmarks/run.py CORPUS --work WORK --seconds {options.seconds} "
        f"--repeats {options.repeats}" + (" --short" if options.short else ""),
        "cpu": f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} cores, {vectors}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def _path(options: argparse.Namespace, suffix: str) -> Path:
    return options.output / f"{'RESULTS_SHORT' if options.short else 'RESULTS'}.{suffix}"


def _write(options: argparse.Namespace, report: dict[str, dict]) -> None:
    _path(options, "json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    facts = "".join(f"- {key}: {value}\n" for key, value in report["environment"].items())
    parts = "".join(
        f"\n## {title}\n\n" + (text if text.startswith("|") else f"```json\n{text}\n```") + "\n"
        for title, text in report["parts"].items()
    )
    _path(options, "md").write_text(f"# Benchmarks\n\n{facts}{parts}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
