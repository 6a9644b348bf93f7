"""Environment report: versions, devices, cuDNN."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import platform
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from keras_attn_nmt.layers.encoder import BidirectionalEncoder

PACKAGES = (
    "keras_attn_nmt",
    "keras",
    "tensorflow",
    "tensorflow-text",
    "sentencepiece",
    "sacrebleu",
    "numpy",
)

logger = logging.getLogger(__name__)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    found = {"python": platform.python_version()}
    backend = ("jax", "jaxlib") if keras.backend.backend() == "jax" else ()
    found |= {name: _version(name) for name in (*PACKAGES, *backend)}
    # Of the modules: tf-nightly is not named after its own, and keras may lie beside keras-nightly.
    return found | {"keras": keras.__version__, "tensorflow": tf.__version__}


def _version(package: str) -> str:
    for name in (package, f"{package}-nightly"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "not installed"


def describe_device(model: keras.Model) -> str:
    """One line with the device and whether cuDNN is used."""
    if keras.backend.backend() == "jax":
        import jax

        kinds = sorted({each.device_kind for each in jax.local_devices()})
        return f"JAX: {jax.local_device_count()} x {', '.join(kinds)}, {os.cpu_count()} CPU cores"
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"CPU: {os.cpu_count()} cores, no GPU and no cuDNN"
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus
    ]
    encoders = [each for each in model.layers if isinstance(each, BidirectionalEncoder)]
    cudnn = "with cuDNN" if any(each.runs_on_cudnn() for each in encoders) else "without cuDNN"
    return f"GPU: {', '.join(names)}, encoder {cudnn}"


def unused_gpu() -> str | None:
    """Instructions if the backend cannot use an installed NVIDIA GPU, else `None`."""
    present = shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if not present or hidden or _gpus():
        return None
    on_jax = keras.backend.backend() == "jax"
    library, package = ("JAX", "jax[cuda12]") if on_jax else ("TensorFlow", "tensorflow[and-cuda]")
    return (
        f"This machine has an NVIDIA GPU, but {library} cannot use it: training runs on the CPU. "
        f"Install the CUDA libraries with: pip install '{package}'"
    )


def describe_environment() -> dict[str, str]:
    """Versions, devices and detected problems, for bug reports."""
    return {
        **versions(),
        "keras backend": keras.backend.backend(),
        "platform": platform.platform(),
        "cpu cores": str(os.cpu_count()),
        "gpus": ", ".join(_gpus()) or "none",
        "problems": unused_gpu() or "none",
    }


def _gpus() -> list[str]:
    """Names of the GPUs that the backend can use."""
    if keras.backend.backend() == "jax":
        import jax

        return [str(each) for each in jax.local_devices() if each.platform != "cpu"]
    return [gpu.name for gpu in tf.config.list_physical_devices("GPU")]
