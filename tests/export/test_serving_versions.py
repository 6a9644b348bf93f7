"""The test server loads versions like TensorFlow Serving."""

import shutil
import threading
import time

import pytest
import requests
import serving_toy
import serving_versions
from serving_double import ServingDouble


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    directory = tmp_path_factory.mktemp("toy") / "1"
    serving_toy.save(directory)
    return directory


@pytest.fixture
def directory(toy, tmp_path):
    add(tmp_path, toy, 1)
    return tmp_path


def add(directory, toy, number, broken=False):
    """Adds a version, whole or not at all."""
    shutil.copytree(toy, directory / ".coming")
    if broken:
        (directory / ".coming" / "saved_model.pb").write_bytes(b"nothing")
    (directory / ".coming").rename(directory / str(number))


def states(server):
    answer = requests.get(f"{server.rest_address}/v1/models/toy", timeout=60).json()
    return {int(each["version"]): each["state"] for each in answer["model_version_status"]}


def wait_for(server, **wanted):
    wanted = {int(name[1:]): state for name, state in wanted.items()}
    for _ in range(1000):
        if states(server) == wanted:
            return
        time.sleep(0.02)
    raise AssertionError(f"{states(server)} are not {wanted}")


def status_of(server, version=None):
    which = "" if version is None else f"/versions/{version}"
    url = f"{server.rest_address}/v1/models/toy{which}:predict"
    return requests.post(url, json={"inputs": ["a"]}, timeout=60).status_code


class Gate:
    """Holds back what is loaded while it is closed."""

    def __init__(self, load):
        self.load, self.open = load, threading.Event()
        self.open.set()

    def __call__(self, *arguments):
        assert self.open.wait(60)
        return self.load(*arguments)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(serving_versions.Servable)
    monkeypatch.setattr(serving_versions, "Servable", gate)
    yield gate
    gate.open.set()


def test_new_version_replaces_the_old_one_in_the_background(directory, toy, gate):
    with ServingDouble(directory, "toy") as server:
        gate.open.clear()
        add(directory, toy, 2)
        wait_for(server, v1="AVAILABLE", v2="LOADING")
        assert (status_of(server), status_of(server, 1), status_of(server, 2)) == (200, 200, 404)
        with server.versions.servable("toy", 1):  # A request that is not answered yet.
            gate.open.set()
            wait_for(server, v1="UNLOADING", v2="AVAILABLE")
            assert (status_of(server), status_of(server, 1)) == (200, 404)
        wait_for(server, v1="END", v2="AVAILABLE")
        assert (status_of(server), status_of(server, 2)) == (200, 200)


def test_highest_number_is_served_and_can_be_rolled_back(directory, toy):
    add(directory, toy, 10)
    with ServingDouble(directory, "toy") as server:
        assert states(server) == {10: "AVAILABLE"}
        shutil.rmtree(directory / "10")
        wait_for(server, v1="AVAILABLE", v10="END")
        assert status_of(server) == 200


def test_broken_version_blocks_newer_ones_during_its_retries(directory, toy, gate):
    with ServingDouble(directory, "toy", retries=2, retry_seconds=0.3) as server:
        gate.open.clear()
        add(directory, toy, 2, broken=True)
        wait_for(server, v1="AVAILABLE", v2="LOADING")
        add(directory, toy, 3)
        gate.open.set()
        wait_for(server, v1="AVAILABLE", v2="LOADING", v3="START")
        assert (status_of(server), status_of(server, 3)) == (200, 404)
        wait_for(server, v1="END", v2="END", v3="AVAILABLE")
        url = f"{server.rest_address}/v1/models/toy/versions/2"
        (found,) = requests.get(url, timeout=60).json()["model_version_status"]
        assert found["status"]["error_code"] == "UNKNOWN"
        assert "saved_model.pb" in found["status"]["error_message"]


def test_loading_a_broken_version_is_retried(directory, toy):
    with ServingDouble(directory, "toy", retries=50, retry_seconds=0.1) as server:
        add(directory, toy, 2, broken=True)
        wait_for(server, v1="AVAILABLE", v2="LOADING")
        shutil.copy(toy / "saved_model.pb", directory / "2")
        wait_for(server, v1="END", v2="AVAILABLE")


def test_broken_newest_version_at_startup_ends_the_server(directory, toy):
    add(directory, toy, 2, broken=True)
    with (
        pytest.raises(RuntimeError, match="Version 2 did not load"),
        ServingDouble(directory, "toy", retries=0),
    ):
        pass


def test_version_with_failing_warmup_is_not_served(directory):
    serving_toy.save(directory / "2", warmup=["no number"])
    with (
        pytest.raises(RuntimeError, match=r"(?s)Version 2 did not load: .*StringToNumberOp"),
        ServingDouble(directory, "toy", retries=0),
    ):
        pass
