"""Translation speed of one peer, in its own environment: weights untrained, steps counted.

    .venv/NAME/bin/python decode.py NAME FOLDER --beam 1 --batch 64 --steps 16

`FOLDER` has what `peer_decoding.py` wrote: `config.yaml`, and for those that translate files only a
model. Prints one line of JSON: seconds of every batch, and how many tokens came out of each.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Takes lines of pieces, gives the number of tokens of each translation.
Translate = Callable[[list[str]], list[int]]


def joeynmt(folder: Path, beam: int, batch: int, steps: int) -> Translate:
    """JoeyNMT's own search; sentences as ids, without its tokenizers."""
    import torch
    from joeynmt.batch import Batch
    from joeynmt.config import load_config, parse_global_args
    from joeynmt.model import build_model
    from joeynmt.search import search
    from joeynmt.vocabulary import build_vocab

    torch.set_num_threads(1)
    settings = parse_global_args(load_config(str(folder / "config.yaml")))
    source, target = build_vocab(settings.data)
    model = build_model(settings.model, src_vocab=source, trg_vocab=target)
    model.eval()

    def translate(lines: list[str]) -> list[int]:
        ids, lengths, _ = source.sentences_to_ids([line.split() for line in lines], bos=False)
        made = Batch(
            src=torch.tensor(ids),
            src_length=torch.tensor(lengths),
            src_prompt_mask=None,
            trg=None,
            trg_prompt_mask=None,
            indices=torch.arange(len(lines)),
            device=torch.device("cpu"),
            pad_index=model.pad_index,
            eos_index=model.eos_index,
            is_train=False,
        )
        size = 0 if beam == 1 else beam
        found, *_ = search(
            model,
            made,
            max_output_length=steps,
            beam_size=size,
            beam_alpha=1.0,
            min_output_length=steps,
        )
        return [len(row) for row in found]

    return translate


def opennmt_tf(folder: Path, beam: int, batch: int, steps: int) -> Translate:
    """OpenNMT-tf's own SavedModel."""
    import opennmt
    import tensorflow as tf
    import yaml

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from opennmt_tf_model import model as make

    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    model = make()
    lengths = {"minimum_decoding_length": steps, "maximum_decoding_length": steps}
    model.initialize(config["data"], {"beam_width": beam, "length_penalty": 1.0, **lengths})
    model.create_variables()
    exported = str(folder / f"exported_{beam}")
    model.export(exported, opennmt.utils.SavedModelExporter())
    loaded = tf.saved_model.load(exported)
    signature = loaded.signatures["serving_default"]

    def translate(lines: list[str]) -> list[int]:
        tokens = tf.ragged.constant([line.split() for line in lines])
        found = signature(
            tokens=tokens.to_tensor(""), length=tf.cast(tokens.row_lengths(), tf.int32)
        )
        return found["length"][:, 0].numpy().tolist()

    # The function lives as long as what was loaded.
    translate.loaded = loaded  # type: ignore[attr-defined]
    return translate


def opennmt_py(folder: Path, beam: int, batch: int, steps: int) -> Translate:
    """OpenNMT-py's inference engine."""
    import torch
    from onmt.inference_engine import InferenceEnginePY
    from onmt.opts import translate_opts
    from onmt.utils.parse import ArgumentParser

    # What torch 2.6 and later refuse: a checkpoint with options in it.
    torch.load = functools.partial(torch.load, weights_only=False)
    torch.set_num_threads(1)
    parser = ArgumentParser()
    translate_opts(parser)
    options = parser.parse_args(
        [
            *["-model", str(folder / "model_step_2.pt"), "-src", "unused"],
            *["-output", str(folder / "translations")],
            *["-beam_size", str(beam), "-batch_size", str(batch), "-batch_type", "sents"],
            *["-min_length", str(steps), "-max_length", str(steps), "-max_length_ratio", "0"],
            *[
                "-length_penalty",
                "avg",
                "-gpu",
                "-1",
                "-world_size",
                "1",
            ],
        ]
    )
    ArgumentParser.validate_translate_opts(options)
    ArgumentParser._get_all_transform_translate(options)
    ArgumentParser._validate_transforms_opts(options)
    ArgumentParser.validate_translate_opts_dynamic(options)
    engine = InferenceEnginePY(options)

    def translate(lines: list[str]) -> list[int]:
        _, found = engine.infer_list(lines)
        return [len(best[0].split()) for best in found]

    return translate


def marian(folder: Path, beam: int, batch: int, steps: int) -> Translate:
    """Marian through its Python binding."""
    from pymarian import Translator

    options = {
        "models": str(folder / "model.npz"),
        "vocabs": [str(folder / "de.yml"), str(folder / "en.yml")],
        "beam-size": beam,
        "mini-batch": batch,
        "maxi-batch": 1,
        "normalize": 1,
        "cpu-threads": 1,
        "quiet": True,
        "quiet-translation": True,
        # All sentences have as many tokens, the end included, as there are to be steps.
        "max-length-factor": 1,
    }
    words = []
    for name, value in options.items():
        given = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, given)]
    translator = Translator(" ".join(words))

    def translate(lines: list[str]) -> list[int]:
        found = translator.translate("\n".join(lines))
        return [len(line.split()) for line in found.splitlines()]

    return translate


SYSTEMS = {
    "joeynmt": joeynmt,
    "opennmt_tf": opennmt_tf,
    "opennmt_py": opennmt_py,
    "marian": marian,
}


def main() -> None:
    """Translates the sample twice, of which the first time warms up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lines = (options.folder / "sample").read_text(encoding="utf-8").splitlines()
    lines = lines if options.batch > 1 else lines[:64]
    batches = [lines[i : i + options.batch] for i in range(0, len(lines), options.batch)]
    with contextlib.redirect_stdout(sys.stderr):
        make = SYSTEMS[options.system]
        translate = make(options.folder, options.beam, options.batch, options.steps)
        seconds: list[float] = []
        counts: list[int] = []
        for each in [*batches, *batches]:
            begin = time.perf_counter()
            found = translate(each)
            seconds.append(time.perf_counter() - begin)
            counts += found
    kept = seconds[len(batches) :]
    print(json.dumps({"seconds": kept, "tokens": sum(counts[len(lines) :]) / len(lines)}))


if __name__ == "__main__":
    main()
