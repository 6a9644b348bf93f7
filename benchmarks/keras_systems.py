"""Training speed of the systems that run on this project's own TensorFlow and Keras.

    python benchmarks/keras_systems.py SYSTEM WORK --threads 1 --seconds 60

`SYSTEM`: `ours`; `naive`, Keras' `Bidirectional(GRU)` with a cell of Bahdanau's attention in
`RNN`, as most people write it; `tutorial`, the model of TensorFlow's translation tutorial
(dot-product attention after the decoder's RNN, directions summed). With `_bfloat16` after its name,
a system runs under Keras' policy `mixed_bfloat16`. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

SYSTEMS = ("ours", "naive", "tutorial")
BFLOAT16 = "_bfloat16"
EMBEDDING, UNITS, DROPOUT, SMOOTHING, BATCH = 256, 512, 0.2, 0.1, 64
WARM_STEPS, REPORTED = 8, 10


def our_config(vocabulary: int) -> Any:
    """This project's model, at the sizes of the comparison."""
    from keras_attn_nmt import ModelConfig

    return ModelConfig(
        vocabulary,
        vocabulary,
        embedding_units=EMBEDDING,
        encoder_units=UNITS,
        decoder_units=UNITS,
        attention_units=UNITS,
        embedding_dropout=DROPOUT,
        annotation_dropout=DROPOUT,
        readout_dropout=DROPOUT,
    )


def ours(vocabulary: int) -> Any:
    """As a training of this project builds it."""
    from keras_attn_nmt import build_model

    return build_model(our_config(vocabulary))


def naive(vocabulary: int) -> Any:
    """Bahdanau's attention in a cell: every step projects the query, the context and the input."""
    import keras
    from keras import ops

    class Cell(keras.layers.Layer):
        def __init__(self, **kwargs: Any):
            super().__init__(**kwargs)
            self.gru = keras.layers.GRUCell(UNITS)
            self.query = keras.layers.Dense(UNITS, use_bias=False)
            self.score = keras.layers.Dense(1, use_bias=False)
            self.state_size = UNITS
            self.output_size = UNITS + 2 * UNITS

        def build(self, shape: Any) -> None:
            self.gru.build((shape[0], shape[-1] + 2 * UNITS))
            self.query.build((None, UNITS))
            self.score.build((None, UNITS))

        def call(self, inputs: Any, states: Any, training: Any = None) -> Any:
            query = ops.expand_dims(self.query(states[0]), 1)
            energies = self.score(ops.tanh(query + self.keys))[..., 0]
            weights = ops.softmax(ops.where(self.mask, energies, -1e9))
            context = ops.einsum("bs,bsd->bd", weights, self.annotations)
            output, states = self.gru(ops.concatenate([inputs, context], -1), states)
            return ops.concatenate([output, context], -1), states

    class Decoder(keras.layers.Layer):
        def __init__(self, **kwargs: Any):
            super().__init__(**kwargs)
            self.cell = Cell()
            self.rnn = keras.layers.RNN(self.cell, return_sequences=True)
            self.keys = keras.layers.Dense(UNITS, use_bias=False)

        def build(self, embedded_shape: Any, annotations_shape: Any, **_: Any) -> None:
            self.keys.build(annotations_shape)
            self.rnn.build(embedded_shape)

        def call(self, embedded: Any, annotations: Any, mask: Any, state: Any) -> Any:
            self.cell.keys = self.keys(annotations)
            self.cell.annotations, self.cell.mask = annotations, mask
            return self.rnn(embedded, initial_state=[state])

        def compute_output_spec(self, embedded: Any, *_: Any) -> Any:
            return keras.KerasTensor((*embedded.shape[:2], 3 * UNITS))

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    embedded = keras.layers.Embedding(vocabulary, EMBEDDING)(source)
    embedded = keras.layers.Dropout(DROPOUT)(embedded)
    mask = source != 0
    annotations, _, backward = keras.layers.Bidirectional(
        keras.layers.GRU(UNITS, return_sequences=True, return_state=True)
    )(embedded, mask=mask)
    state = keras.layers.Dense(UNITS, activation="tanh")(backward)
    previous = keras.layers.Dropout(DROPOUT)(keras.layers.Embedding(vocabulary, EMBEDDING)(target))
    features = Decoder()(previous, annotations, mask, state)
    features = keras.layers.Dense(EMBEDDING, activation="tanh")(
        keras.layers.Concatenate()([features, previous])
    )
    features = keras.layers.Dropout(DROPOUT)(features)
    logits = keras.layers.Dense(vocabulary)(features)
    return keras.Model({"source": source, "target": target}, {"logits": logits})


def tutorial(vocabulary: int) -> Any:
    """Attention of the decoder's outputs, after its loop, with directions summed; no dropout."""
    import keras

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    mask = source != 0
    embedded = keras.layers.Embedding(vocabulary, EMBEDDING)(source)
    annotations = keras.layers.Bidirectional(
        keras.layers.GRU(UNITS, return_sequences=True), merge_mode="sum"
    )(embedded, mask=mask)
    previous = keras.layers.Embedding(vocabulary, EMBEDDING)(target)
    states = keras.layers.GRU(UNITS, return_sequences=True)(previous)
    context = keras.layers.MultiHeadAttention(num_heads=1, key_dim=UNITS)(
        states, annotations, attention_mask=mask[:, None, :]
    )
    features = keras.layers.LayerNormalization()(keras.layers.Add()([states, context]))
    logits = keras.layers.Dense(vocabulary)(features)
    return keras.Model({"source": source, "target": target}, {"logits": logits})


def flops_of_target_token(sources: float) -> float:
    """Forward and back, in the products of matrices of `ours` alone; padding does not count.

    Args:
        sources: Source tokens for each target token.
    """
    gates, annotation, vocabulary, length = 3 * UNITS, 2 * UNITS, 8000, 16
    source = (
        2 * (EMBEDDING + UNITS) * gates  # both directions: inputs and recurrence
        + annotation * UNITS  # keys
        + annotation * gates  # the annotations' share of the decoder's gates
    )
    target = (
        (EMBEDDING + UNITS) * gates
        + UNITS * UNITS  # query
        + length * (UNITS + gates + annotation)  # scores, averages
        + (EMBEDDING + UNITS + annotation) * EMBEDDING  # readout
        + EMBEDDING * vocabulary
    )
    return 3 * 2 * (sources * source + target)


def sgemm_flops(size: int = 2048) -> float:
    """What one product of large matrices reaches in TensorFlow, with the threads that are set."""
    import tensorflow as tf

    left, right = tf.random.normal((size, size)), tf.random.normal((size, size))
    product = tf.function(lambda: tf.matmul(left, right))
    product()
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        product().numpy()
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds)


def main() -> None:
    """Trains for some time and prints how fast it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [each + suffix for suffix in ("", BFLOAT16) for each in SYSTEMS]
    parser.add_argument("system", choices=names)
    parser.add_argument("work", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--one-shape", action="store_true", help="the same batch of 16 tokens: no new memory"
    )
    parser.add_argument("--xla", action="store_true", help="compile, which every shape waits for")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    if options.system.startswith("ours"):
        # As `keras-attn-nmt train` does: without JAX and other unused packages. Builds of
        # `training.py --before` may not have it.
        with contextlib.suppress(ModuleNotFoundError):
            from keras_attn_nmt.cli.keras_import import import_keras

            import_keras()

    import data
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    # As TensorFlow and so `keras-attn-nmt train` choose themselves: the directions of the encoder
    # and gradients of weights run at the same time.
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    keras.utils.set_random_seed(1)
    system = options.system.removesuffix(BFLOAT16)
    if system != options.system:
        keras.config.set_dtype_policy("mixed_bfloat16")
    before_step = None
    if system == "ours":
        from keras_attn_nmt import FusedAdam as Adam
        from keras_attn_nmt import MaskedCrossentropy
        from keras_attn_nmt.memory import keep_freed_memory as before_step

        model, loss = ours(data.VOCABULARY_SIZE), MaskedCrossentropy(SMOOTHING)
    else:
        from keras.optimizers import Adam

        model = {"naive": naive, "tutorial": tutorial}[system](data.VOCABULARY_SIZE)

        def loss(labels: Any, logits: Any) -> Any:
            # As written everywhere: a sparse loss, masked.
            logits = tf.cast(logits, "float32")
            each = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            real = tf.cast(labels != 0, "float32")
            return tf.reduce_sum(each * real) / tf.reduce_sum(real)

    if options.xla:
        for layer in model._flatten_layers():
            layer.supports_jit = True
    optimizer = Adam(1e-3, global_clipnorm=1.0)
    model.compile(optimizer, loss={"logits": loss}, jit_compile=options.xla)
    tokens = {"source": 0, "target": 0}
    steps: list[tuple[float, int, int]] = []

    batches = data.batches(data.pairs(options.work), BATCH)
    if options.one_shape:
        right = (16, 16)
        batches = itertools.repeat(
            next(b for b in batches if (b[0]["source"].shape[1], b[0]["target"].shape[1]) == right)
        )
    spec = tf.TensorSpec((None, None), tf.int32)
    dataset = tf.data.Dataset.from_generator(
        lambda: batches, output_signature=({"source": spec, "target": spec}, {"logits": spec})
    )
    sizes = dataset.prefetch(2)

    model.make_train_function()
    begin = last = time.perf_counter()
    losses = []
    for inputs, labels in sizes:
        if before_step:
            before_step()
        result = model.train_function(iter([(inputs, labels)]))
        losses.append(float(result["loss"]))
        now = time.perf_counter()
        source = int(tf.math.count_nonzero(inputs["source"]))
        target = int(tf.math.count_nonzero(labels["logits"]))
        steps.append((now - last, source, target))
        last = now
        if now - begin > options.seconds:
            break
    kept = steps[WARM_STEPS:]
    tokens["source"], tokens["target"] = (sum(step[i] for step in kept) for i in (1, 2))
    spent = sum(step[0] for step in kept)
    # As the peers' own logs: the median of what is reported every ten steps, so that a few steps of
    # new shapes, whose memory is touched for the first time, count for no more than they do there.
    reports = [kept[start : start + REPORTED] for start in range(0, len(kept), REPORTED)]
    rates = [
        sum(step[2] for step in each) / sum(step[0] for step in each)
        for each in reports
        if len(each) == REPORTED or len(reports) == 1
    ]
    flops = flops_of_target_token(tokens["source"] / tokens["target"])
    print(
        json.dumps(
            {
                "mflops_of_target_token": flops / 1e6,
                "sgemm_gflops": sgemm_flops() / 1e9,
                "target_tokens_per_second": statistics.median(rates),
                "mean_target_tokens_per_second": tokens["target"] / spent,
                "mean_source_tokens_per_second": tokens["source"] / spent,
                "steps": len(kept),
                "parameters": model.count_params(),
                "last_loss": statistics.mean(losses[-20:]),
            }
        )
    )


if __name__ == "__main__":
    main()
