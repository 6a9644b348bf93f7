"""Test code: merges requests into batches as TensorFlow Serving's BatchingSession does.

After `batching_session.cc` of TensorFlow Serving and `shared_batch_scheduler.h` of TensorFlow: one
queue for each signature, whose threads are shared.
"""

import collections
import itertools
import threading
import time
from concurrent.futures import Future

import grpc
import numpy as np
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

INVALID, PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


class StatusError(Exception):
    """What a request fails with: a code of gRPC, and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def _parameters_class():
    """`BatchingParameters` of `session_bundle_config.proto`, which the package of protos lacks."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="batching_parameters.proto",
        package="serving_double",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="BatchingParameters")
    for number, name, kind in (
        (1, "max_batch_size", "Int64Value"),
        (2, "batch_timeout_micros", "Int64Value"),
        (3, "max_enqueued_batches", "Int64Value"),
        (4, "num_batch_threads", "Int64Value"),
        (5, "thread_pool_name", "StringValue"),
    ):
        message.field.add(
            name=name,
            number=number,
            label=field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE,
            type_name=f".google.protobuf.{kind}",
        )
    message.field.add(
        name="allowed_batch_sizes", number=6, label=field.LABEL_REPEATED, type=field.TYPE_INT64
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("serving_double.BatchingParameters")
    )


BatchingParameters = _parameters_class()


def read_parameters(text):
    """The parameters in a `batching.config`; an unknown one is an error."""
    parameters = text_format.Parse(text, BatchingParameters())
    sizes = list(parameters.allowed_batch_sizes)
    if sizes and (sizes[-1] != parameters.max_batch_size.value or sizes != sorted(set(sizes))):
        raise ValueError("Last entry in allowed_batch_sizes must match max_batch_size")
    return parameters


class _Task:
    def __init__(self, inputs, size, deadline):
        self.inputs, self.size, self.deadline = inputs, size, deadline
        self.answer = Future()


class _Batch:
    def __init__(self, closes):
        self.tasks, self.closes = [], closes

    @property
    def size(self):
        return sum(task.size for task in self.tasks)


class Batcher:
    """Runs requests, merged with those that come at the same time.

    Attributes:
        merged: How many requests were in each batch.
    """

    def __init__(self, run, parameters):
        self._run = run
        self._largest = parameters.max_batch_size.value
        self._timeout = parameters.batch_timeout_micros.value / 1e6
        self._most_batches = parameters.max_enqueued_batches.value
        self._allowed = list(parameters.allowed_batch_sizes)
        self._queues = collections.defaultdict(collections.deque)
        self._changed = threading.Condition()
        self._closed = False
        self.merged = []
        self._threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(parameters.num_batch_threads.value)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, key, inputs, deadline):
        """The outputs for the rows of `inputs`, merged with those of the same `key`.

        Raises StatusError.
        """
        task = _Task(inputs, _batch_size(inputs), deadline)
        if task.size > self._largest:
            raise StatusError(
                INVALID,
                f"Task size {task.size} is larger than maximum input batch size {self._largest}",
            )
        with self._changed:
            queue = self._queues[key]
            if not queue or queue[-1].size + task.size > self._largest:
                if len(queue) >= self._most_batches:
                    raise StatusError(
                        grpc.StatusCode.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full",
                    )
                queue.append(_Batch(time.monotonic() + self._timeout))
            queue[-1].tasks.append(task)
            self._changed.notify_all()
        return task.answer.result()

    def close(self):
        """Ends the threads, once nothing waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self):
        while True:
            with self._changed:
                while (found := self._next_batch()) is None:
                    if self._closed:
                        return
                    self._changed.wait(self._until_next())
                key, batch = found
                self.merged.append(len(batch.tasks))
            try:
                answers = self._process(key, batch)
            except Exception as error:  # Whoever waits is told; the thread goes on.
                code = getattr(error, "code", grpc.StatusCode.INTERNAL)
                for task in batch.tasks:
                    task.answer.set_exception(
                        StatusError(code, getattr(error, "message", str(error)))
                    )
            else:
                for task, answer in zip(batch.tasks, answers, strict=True):
                    task.answer.set_result(answer)

    def _next_batch(self):
        """A batch that is full or old enough; one without a row waits for another request."""
        for key, queue in self._queues.items():
            if queue and queue[0].size:
                full = len(queue) > 1 or queue[0].size >= self._largest
                if full or time.monotonic() >= queue[0].closes:
                    # The next queue's turn.
                    self._queues[key] = self._queues.pop(key)
                    return key, queue.popleft()
        return None

    def _until_next(self):
        closing = [queue[0].closes for queue in self._queues.values() if queue and queue[0].size]
        return max(0.0, min(closing) - time.monotonic()) if closing else None

    def _process(self, key, batch):
        if time.monotonic() > max(task.deadline for task in batch.tasks):
            raise StatusError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "Run() timeout exceeded while waiting in batching queue",
            )
        padding = next((n for n in self._allowed if n >= batch.size), batch.size) - batch.size
        merged = {}
        for name, first in batch.tasks[0].inputs.items():
            parts = [task.inputs[name] for task in batch.tasks]
            if any(part.shape[1:] != first.shape[1:] for part in parts):
                raise StatusError(
                    PRECONDITION,
                    f"Tensors with name '{name}' from different tasks have different shapes and "
                    "padding is turned off.",
                )
            merged[name] = np.concatenate([*parts, *[parts[-1][:1]] * padding])
        outputs = self._run(key, merged)
        if time.monotonic() > max(task.deadline for task in batch.tasks):
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for the run")
        rows = np.cumsum([0, *(task.size for task in batch.tasks)])
        return [
            {name: value[start:end] for name, value in outputs.items()}
            for start, end in itertools.pairwise(rows)
        ]


def _batch_size(inputs):
    if any(value.ndim == 0 for value in inputs.values()):
        raise StatusError(INVALID, "Batching Run() input tensors must have at least one dimension")
    sizes = {len(value) for value in inputs.values()}
    if len(sizes) != 1:
        raise StatusError(
            INVALID, "Batching Run() input tensors must have equal 0th-dimension size"
        )
    return sizes.pop()
