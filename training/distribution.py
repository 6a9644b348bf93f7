"""Training on several devices and in several processes: Keras' `DataParallel` on JAX.

Processes on the TensorFlow backend are in `training/workers.py`.

Each device gets some of the rows of a batch and all weights; JAX adds up the gradients. Process 0
has a copy of the model on one device, which translates for the validation BLEU and is what is saved
and loaded, so that nothing but training steps needs all processes.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attn_nmt.model import TranslationModel
from keras_attn_nmt.signals import exit_code
from keras_attn_nmt.text.special_ids import PAD
from keras_attn_nmt.training.cluster import Cluster, take_back_sigterm
from keras_attn_nmt.training.cluster_start import Address, listen
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.training_recipe import TrainingRecipe

_SERVICE_SECONDS = 60


class ReplicaModel(TranslationModel):
    """A model that is trained on several devices or in several processes.

    Args:
        model: A model whose layers are used.
    """

    def __init__(self, model: Any):
        super().__init__(model.input, model.output, name=model.name)
        self.model_config = model.model_config


class DataParallelModel(ReplicaModel):
    """A model on several JAX devices, whose logged loss is that of one device."""

    def _update_metrics_variables(
        self, variables: Any, loss: Any, x: Any, *others: Any
    ) -> tuple[Any, Any]:
        # Keras weighs the loss of a batch by all of its rows, those of padding included.
        padding = keras.ops.subtract(real_rows(x), x["source"].shape[0])
        mapping = list(zip(self.metrics_variables, variables, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            self._loss_tracker.update_state(loss, sample_weight=padding)
        corrected = [scope.get_current_value(each) for each in self.metrics_variables]
        return super()._update_metrics_variables(corrected, loss, x, *others)


def real_rows(x: Any) -> Any:
    """Number of rows of a batch without those of padding, float32."""
    return keras.ops.sum(keras.ops.cast(keras.ops.not_equal(x["source"][:, 0], PAD), "float32"))


class Replicas:
    """The devices of a run. `Replicas(Cluster())` is a single device.

    Args:
        cluster: The processes.
        devices: Number of devices of each process.
        distribution: Keras' distribution over all of them, or `None` for a single one.
    """

    def __init__(self, cluster: Cluster, devices: int = 1, distribution: Any = None):
        self.cluster = cluster
        self.devices = devices
        self.distribution = distribution

    @property
    def count(self) -> int:
        """Number of devices of all processes."""
        return self.devices * self.cluster.processes

    @property
    def loss_shards(self) -> int:
        """`shards` of `RDropCrossentropy`: parts of a batch that each hold all dropout passes."""
        return self.count

    @property
    def dropout_stream(self) -> int:
        """Differs between processes that drop out their own rows."""
        return 0

    def wrap(self, model: keras.Model) -> keras.Model:
        """A new model as it is trained."""
        return DataParallelModel(model) if self.distribution else model

    def shard(self, data: BatchedPairs) -> BatchedPairs:
        """The rows of this process."""
        if self.count == 1:
            return data
        return data.shard(self.cluster.processes, self.cluster.process, self.devices)

    def scope(self) -> Any:
        """Within it, new variables are on all devices."""
        return self.distribution.scope() if self.distribution else contextlib.nullcontext()

    def single(self) -> Any:
        """Within it, new variables are on one device of this process."""
        return _no_distribution() if self.distribution else contextlib.nullcontext()

    def replicated(self, make: Callable[[], keras.Model], local: keras.Model | None) -> keras.Model:
        """The model that is trained: on all devices, or `local` if there is a single one.

        Args:
            make: Makes a model.
            local: The model that process 0 loads, saves and translates with; `None` in others.
        """
        if local is not None and not self.distribution:
            return local
        # JAX checks that all processes make the same values. Not `keras.utils.set_random_seed`: if
        # TensorFlow gets a seed, it drops the vocabularies that a stream of pairs tokenizes with.
        random.seed(0)
        with self.scope():
            return make()

    def spread(self, model: keras.Model, local: keras.Model | None) -> None:
        """Copies weights and optimizer from `local`, in process 0, to `model` in all processes."""
        if not self.distribution:
            return

        def content() -> bytes:
            file = io.BytesIO()
            np.savez(file, *(np.asarray(each) for each in variables_of(local)))
            return file.getvalue()

        with np.load(io.BytesIO(self.cluster.bytes_from_first(content))) as values:
            for variable, name in zip(variables_of(model), values.files, strict=True):
                variable.assign(values[name])

    def collect(self, model: keras.Model, local: keras.Model) -> None:
        """Copies weights and optimizer from `model` to `local`; only for process 0."""
        if not self.distribution:
            return
        for variable, copy in zip(variables_of(model), variables_of(local), strict=True):
            # Every device has all of it.
            copy.assign(np.asarray(variable.value.addressable_data(0)))


@contextlib.contextmanager
def _no_distribution() -> Iterator[None]:
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def variables_of(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


@contextlib.contextmanager
def replicas(cluster: Cluster, settings: TrainingRecipe) -> Iterator[Replicas]:
    """The devices of all processes, for the duration of the block.

    Raises:
        ValueError: The backend is not JAX, or there are fewer devices.
        RuntimeError: JAX has been used before in this Python process.
    """
    if settings.distribution == "multi_worker" and cluster.processes > 1:
        from keras_attn_nmt.training.workers import workers

        with workers(cluster) as processes:
            yield processes
        return
    if cluster.processes == 1 and settings.devices == 1:
        yield Replicas(cluster)
        return
    check_backend()
    with _connected(cluster) if cluster.processes > 1 else contextlib.nullcontext():
        import jax

        here = jax.local_device_count()
        if here < settings.devices:
            raise ValueError(
                f"training.devices={settings.devices}, but JAX has {here} here "
                f"({jax.local_devices()[0].platform}): set training.devices to at most {here}."
            )
        used = [
            [each for each in jax.devices() if each.process_index == process][: settings.devices]
            for process in range(cluster.processes)
        ]
        distribution = keras.distribution.DataParallel(
            devices=[each for devices in used for each in devices], auto_shard_dataset=False
        )
        yield Replicas(cluster, settings.devices, distribution)


def check_backend() -> None:
    """Raises `ValueError` if the backend is not JAX."""
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            "training.devices above 1, and several processes by --processes, need Keras' JAX "
            f"backend, and this is {backend}: set KERAS_BACKEND=jax in the environment, with the "
            "extra jax installed. On TensorFlow, training.distribution=multi_worker trains in "
            "several processes."
        )


@contextlib.contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """JAX's own connection of the processes."""
    import jax

    address, service = "", None
    try:
        if cluster.first:
            address = str(Address(cluster.address.host, _free_port(cluster.address.host)))
            service = _start_service(address, cluster.processes)
        address = cluster.from_first(lambda: address)
        if jax.__version_info__ < (0, 6):  # 0.5.0 has no default on CPUs.
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            address,
            cluster.processes,
            cluster.process,
            initialization_timeout=_SERVICE_SECONDS,
            # An unused service, as the others use that of `_start_service`.
            coordinator_bind_address=f"127.0.0.1:{_free_port('127.0.0.1')}",
        )
        take_back_sigterm()
        yield
        jax.distributed.shutdown()
    except BaseException as error:
        # At exit, JAX would wait for the others and then abort. This runs before.
        atexit.register(_exit_at_once, exit_code(error))
        raise
    finally:
        if service is not None:
            # Also without an error, as some may still be leaving.
            service.stdin.close()


def _exit_at_once(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _free_port(host: str) -> int:
    with listen(Address(host, 0)) as server:
        return int(server.getsockname()[1])


def _start_service(address: str, processes: int) -> Any:
    """Starts JAX's coordination service; it ends some time after its standard input."""
    script = Path(__file__).with_name("jax_service.py")
    service = subprocess.Popen(
        [sys.executable, str(script), address, str(processes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # It outlives a killed process 0, whose reader would wait for it.
        stderr=subprocess.DEVNULL,
        # Not interrupted by Ctrl-C as process 0 is.
        start_new_session=True,
    )
    assert service.stdout is not None
    if service.stdout.readline() != b"ready\n":
        raise OSError(f"JAX's coordination service could not be started at {address}.")
    return service
