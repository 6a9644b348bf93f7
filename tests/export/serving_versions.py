"""Test code: loads the newest version in a directory in the background, and unloads the one before.

After the manager of TensorFlow Serving (`aspired_versions_manager.cc`, `retrier.cc`) with its
policy `latest { num_versions: 1 }`: versions load one after another, so that one that does not load
blocks a newer one until its retries are over.
"""

import contextlib
import threading
from pathlib import Path

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from serving_batching import StatusError
from serving_predict import Servable
from tensorflow_serving.apis import get_model_status_pb2

POLL_SECONDS = 0.05
State = get_model_status_pb2.ModelVersionStatus.State
OK, UNKNOWN = 0, 2


class Versions:
    """The versions of the model `name` in `directory`.

    Args:
        parameters: BatchingParameters, or None.
        retries: How often a version that does not load is tried again.
        retry_seconds: Between two of these.
    """

    def __init__(self, directory, name, parameters, retries, retry_seconds):
        self._directory, self._name, self._parameters = Path(directory), name, parameters
        self._retries, self._retry_seconds = retries, retry_seconds
        self._states = {}
        self._servable = None
        self._users = {}
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self.merged = []

    def start(self):
        """Returns once the newest version is loaded and warm; RuntimeError if it does not load."""
        newest = self._poll()
        self._load(newest)
        if self._servable is None:
            raise RuntimeError(f"Version {newest} did not load: {self._states[newest][1]}")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self):
        """Unloads what is loaded."""
        self._stop.set()
        self._thread.join()
        self._unload(self._servable)

    @contextlib.contextmanager
    def servable(self, name, version=None):
        """The servable of a request, which is not unloaded meanwhile; StatusError NOT_FOUND."""
        with self._changed:
            servable = self._servable
            if name != self._name or servable is None or version not in (None, servable.number):
                request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise StatusError(
                    grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}"
                )
            self._users[servable.number] += 1
        try:
            yield servable
        finally:
            with self._changed:
                self._users[servable.number] -= 1
                self._changed.notify_all()

    def status(self, name, version=None):
        """A GetModelStatusResponse; StatusError NOT_FOUND."""
        response = get_model_status_pb2.GetModelStatusResponse()
        with self._changed:
            states = self._states if name == self._name else {}
            chosen = sorted(states, reverse=True) if version is None else {version} & set(states)
            for number in chosen:
                state, message = states[number]
                added = response.model_version_status.add(version=number, state=state)
                added.status.error_code = UNKNOWN if message else OK
                added.status.error_message = message
        if not chosen:
            what = "any versions" if version is None else f"version {version}"
            raise StatusError(grpc.StatusCode.NOT_FOUND, f"Could not find {what} of model {name}")
        return response

    def batches(self):
        """How many requests were in each batch, of all versions so far."""
        with self._changed:
            now = self._servable.batcher.merged if self._servable.batcher else []
            return [*self.merged, *now]

    def _poll(self):
        """The newest version; those not seen before are noted down."""
        numbers = [int(path.name) for path in self._directory.iterdir() if path.name.isdecimal()]
        newest = max(numbers)
        with self._changed:
            self._states.setdefault(newest, (State.START, ""))
        return newest

    def _watch(self):
        while not self._stop.wait(POLL_SECONDS):
            newest = self._poll()
            state, _ = self._states[newest]
            if state == State.START or (state == State.END and self._gone_back_to(newest)):
                before = self._servable
                if self._load(newest):
                    self._unload(before)

    def _gone_back_to(self, number):
        return self._servable.number > number and not self._states[number][1]

    def _load(self, number):
        """Whether it was loaded, warmed up and replaced the previous version."""
        self._set(number, State.LOADING)
        for attempt in range(1 + self._retries):
            if attempt:
                self._wait(self._retry_seconds)
            if self._stop.is_set():
                return False
            try:
                servable = Servable(self._directory / str(number), number, self._parameters)
            except (StatusError, OSError, RuntimeError, DecodeError, tf.errors.OpError) as error:
                message = str(error)
                continue
            with self._changed:
                self._servable = servable
                self._users[number] = 0
            self._set(number, State.AVAILABLE)
            return True
        self._set(number, State.END, message)
        return False

    def _unload(self, servable):
        self._set(servable.number, State.UNLOADING)
        with self._changed:
            self._changed.wait_for(lambda: not self._users[servable.number])
        servable.close()
        if servable.batcher:
            self.merged += servable.batcher.merged
        self._set(servable.number, State.END)

    def _wait(self, seconds):
        """Meanwhile newer versions are seen."""
        for _ in range(int(seconds / POLL_SECONDS)):
            if self._stop.wait(POLL_SECONDS):
                return
            self._poll()

    def _set(self, number, state, message=""):
        with self._changed:
            self._states[number] = state, message
