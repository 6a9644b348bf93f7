"""Fuzz targets of REST: requests to the served model, and answers to the client."""

from __future__ import annotations

import json
import random
import types
from pathlib import Path
from typing import Any

import numpy as np

from campaign import mutations
from campaign.fuzz_models import TEXT, model
from campaign.fuzz_texts import Target


def rest_requests(folder: Path) -> Target:
    """Bodies to the served model, parsed by the tests' stand-in for TensorFlow Serving."""
    import serving_rest
    from serving_batching import StatusError

    from keras_attn_nmt.export import export_saved_model
    from keras_attn_nmt.export.saved_model_check import SessionModel

    if not (folder / "served").exists():
        export_saved_model(model(folder), folder / "served", constraints=True)
    session = SessionModel(next((folder / "served").glob("[0-9]*")))
    bodies = [
        {"instances": [{"text": TEXT}, {"text": ""}]},
        {"inputs": {"text": [TEXT, {"b64": "/w=="}]}},
        {"signature_name": "score", "inputs": {"text": ["Haus"], "reference": ["Haus am See"]}},
        {"signature_name": "embed", "inputs": ["Haus"]},
        {
            "signature_name": "translate_constrained",
            "inputs": {"text": ["Haus"], "constraints": ["Haus\tSee\nHaus"]},
        },
    ]

    def make(rng: random.Random) -> bytes:
        body = rng.choice(bodies)
        if rng.randrange(3) == 0:
            body = json.loads(
                json.dumps(body).replace(
                    "Haus", mutations.text(rng).replace("\\", "").replace('"', "")
                ),
                strict=False,
            )
        return mutations.changed_json(rng, json.dumps(body).encode())

    def read(data: bytes) -> None:
        try:
            request, _ = serving_rest.read_predict(data, "x", None, lambda: session.signatures)
        except StatusError as error:
            raise ValueError(error.message) from error
        name = request.model_spec.signature_name
        inputs = {k: list(v.string_val) for k, v in request.inputs.items()}
        if any(len(v.tensor_shape.dim) != 1 for v in request.inputs.values()):
            raise ValueError("the shape does not fit: expected one dimension")
        if len({len(values) for values in inputs.values()}) > 1:
            raise ValueError("inputs of other lengths: expected as many of each")
        found = session.run(name, inputs)
        for value in found.values():
            assert len(value) == len(next(iter(inputs.values())))
            if value.dtype.kind == "f":
                assert np.isfinite(value).all(), "not finite"

    return make, read


def rest_answers(folder: Path) -> Target:
    """What a server answers `TranslationClient`, over REST."""
    from keras_attn_nmt.export import TranslationClient

    outputs = {
        **{"translation": ["a b"], "score": [-0.5], "source_length": [2], "target_length": [2]},
        **{"token_scores": [[-0.25, -0.25]], "attention": [[[0.5, 0.5], [1.0, 0.0]]]},
        **{"source_tokens": [["x", "</s>"]], "target_tokens": [["a", "</s>"]]},
    }
    content = json.dumps({"outputs": outputs}).encode()
    client = TranslationClient("http://localhost:1", "x", retries=0)
    answer: Any = types.SimpleNamespace(status_code=200, headers={})

    def post(*_: Any, **__: Any) -> Any:
        import requests

        response = requests.Response()
        response.status_code, response._content = answer.status_code, answer.data
        return response

    client._transport._session.post = post  # type: ignore[attr-defined]

    def make(rng: random.Random) -> bytes:
        return mutations.changed_json(rng, content)

    def read(data: bytes) -> None:
        answer.data = data
        (found,) = client(["x"])
        wanted = {name: values[0] for name, values in json.loads(data)["outputs"].items()}
        assert found.text == wanted["translation"], "another translation"
        source, target = int(wanted["source_length"]), int(wanted["target_length"])
        assert found.source_tokens == wanted["source_tokens"][:source], "other source tokens"
        assert found.target_tokens == wanted["target_tokens"][:target], "other target tokens"
        _check_numbers(found.score, wanted["score"])
        _check_numbers(found.token_scores, wanted["token_scores"][:target])
        attention = [row[:source] for row in wanted.get("attention", ())][:target]
        _check_numbers(found.attention, attention or np.zeros((target, source)))

    return make, read


def _check_numbers(found: Any, wanted: Any) -> None:
    """Numbers are those of the answer, rounded to float32."""
    try:
        same = np.array_equal(np.float32(found), np.float32(wanted), equal_nan=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise AssertionError(f"no numbers: {found!r:.100}") from error
    assert same, f"other numbers: {found!r:.100} of {wanted!r:.100}"
