"""The environment variable `TF_CONFIG`: the processes of a training on the TensorFlow backend.

Platforms such as Vertex AI and Kubeflow set it; format as in TensorFlow's guide on
`MultiWorkerMirroredStrategy`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from keras_attn_nmt.training.cluster import Cluster
from keras_attn_nmt.training.cluster_start import Address, come_together, parse_address

logger = logging.getLogger(__name__)

NAME = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:9000", "10.0.0.2:9000"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class Task(NamedTuple):
    """The number of this process, and the addresses of all of them."""

    process: int
    addresses: tuple[Address, ...]


def read_task(environment: Mapping[str, str] = os.environ) -> Task:
    """The task in `TF_CONFIG`. A task of type `chief` is process 0; workers follow.

    Raises:
        ValueError: It is missing or malformed, or has parameter servers or an evaluator.
    """
    text = environment.get(NAME, "").strip()
    if not text:
        raise ValueError(
            f"training.distribution='multi_worker' needs the environment variable {NAME} in every "
            f"process, such as {_EXAMPLE}; or set training.distribution='none'."
        )
    try:
        content = json.loads(text)
        cluster, task = content["cluster"], content["task"]
        kind, index = task["type"], task["index"]
        if not isinstance(index, int) or not isinstance(cluster, dict):
            raise TypeError("an index is a number, and a cluster maps types to addresses")
        if others := sorted({*cluster, kind} - {"chief", "worker"}):
            raise ValueError(f"tasks of type {', '.join(others)} have no part in it")
        jobs = {name: _addresses(cluster.get(name, [])) for name in ("chief", "worker")}
        if len(jobs["chief"]) > 1:
            raise ValueError("there can be one chief only")
        if not 0 <= index < len(jobs[kind]):
            raise ValueError(f"the cluster has no {kind} {index}")
        every = (*jobs["chief"], *jobs["worker"])
        if len(set(every)) < len(every):
            raise ValueError("two tasks have the same address")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"The environment variable {NAME} does not describe a cluster of workers ({reason}): "
            f"expected {_EXAMPLE}, got {text}."
        ) from error
    return Task(index + (len(jobs["chief"]) if kind == "worker" else 0), every)


def connect_workers(wait: float = 120) -> Cluster:
    """Connects the processes of `TF_CONFIG`, for `train(..., cluster=...)`.

    They meet at the address of process 0, before TensorFlow uses it.

    Args:
        wait: Seconds to wait for the others.

    Raises:
        ValueError: `TF_CONFIG` is missing or malformed, or the backend is not TensorFlow.
        OSError: A process did not come in time.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "training.distribution='multi_worker' needs Keras' TensorFlow backend, and this is "
            f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow in the environment, or start "
            "the processes with --processes, --process and --coordinator."
        )
    process, addresses = read_task()
    if len(addresses) == 1:
        return Cluster()
    peers = come_together(process, len(addresses), addresses[0], wait)
    return Cluster(process, len(addresses), addresses[0], peers)


def warn_of_unused_task() -> None:
    """Warns if `TF_CONFIG` names several processes, and the recipe does not use them."""
    try:
        processes = len(read_task().addresses)
    except ValueError:
        return
    if processes > 1:
        logger.warning(
            "%s names %d processes, but each will train a model of its own: set "
            "training.distribution='multi_worker'",
            *(NAME, processes),
        )


def _addresses(texts: Any) -> list[Address]:
    if not isinstance(texts, list):
        raise TypeError("addresses are a list of HOST:PORT")
    return [parse_address(str(text)) for text in texts]
