"""What an exported page consists of, and what is refused."""

import base64
import hashlib
import json
import re
import shutil
import types
import urllib.error
from pathlib import Path

import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from keras_attn_nmt import Tokenizer
from keras_attn_nmt.export import ExportError, export_web, web, web_runtime, web_single_file

CORE = """\
import { createWasmLib } from "@litertjs/wasm-utils";
var loadLiteRt = () => createWasmLib(1);
var loadAndCompile = 2, Tensor = 3;
export {
  Tensor,
  loadAndCompile,
  loadLiteRt
};
//# sourceMappingURL=index.js.map
"""
WASM_UTILS = """\
var createWasmLib = (x) => x + 1;
export {
  createWasmLib
};
//# sourceMappingURL=index.js.map
"""
RUNTIME = {
    "litert.js": web_runtime.bundle(CORE, WASM_UTILS).encode(),
    "litert_wasm.js": b"",
    "litert.wasm": b"\0asm",
    "NOTICE": b"",
}


@pytest.fixture
def quick(monkeypatch, device_file):
    """An export takes no time: the model is a known file, and there is no runtime in the page."""

    def export_tflite(model, output, **options):
        for suffix in (".tflite", ".source.spm", ".target.spm"):
            shutil.copy(device_file.with_suffix(suffix), output.with_suffix(suffix))
        return output

    monkeypatch.setattr(web, "export_tflite", export_tflite)
    monkeypatch.setattr(web, "read_metadata", lambda _: {"source_language": "de"})
    monkeypatch.setattr(web, "runtime_files", lambda _: RUNTIME)


def test_a_folder_has_all_that_its_page_names(quick, model_directory, tmp_path):
    page = export_web(model_directory, tmp_path / "web", examples=["ein Haus"])
    folder = page.parent
    assert page == tmp_path / "web" / "index.html"
    assert list(tmp_path.iterdir()) == [folder]
    described = json.loads((folder / "models.json").read_text("utf-8"))
    assert described["examples"] == ["ein Haus"]
    (model,) = described["models"]
    kinds = ("tflite", "sourceVocabulary", "targetVocabulary")
    named = re.findall(r'(?:src|href|data-models)="(\w[^"]+\.[^"]+)"', page.read_text("utf-8"))
    named += described["worker"] + [described["runtime"], *(model[kind] for kind in kinds)]
    paths = set()
    # A browser, or a cache before it, mixes no files of two exports.
    for url in named:
        name, _, version = url.partition("?v=")
        paths.add(name)
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest().startswith(version)
        assert len(version) == 12, url
    assert {"page.js", "page.css", "attention_view.js", "models.json", "worker.js"} <= paths
    assert {"sentencepiece.js", "litert.js", "litert.wasm", "models/model.tflite"} <= paths
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")
    # A web server may read it, unlike a temporary folder.
    (tmp_path / "other").mkdir()
    assert folder.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_licence_is_that_of_the_project(request):
    licence = request.config.rootpath / "LICENSE"
    assert (request.config.rootpath / "export/web_page/LICENSE").read_text() == licence.read_text()


def test_a_single_file_allows_its_own_scripts_and_no_connection(quick, model_directory, tmp_path):
    page = export_web(model_directory, tmp_path / "web", single_file=True)
    assert list(page.parent.iterdir()) == [page]
    text = page.read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "connect-src" not in policy and "'self'" not in policy and "unsafe-inline" not in policy
    scripts = re.findall(r'<script data-name="[\w.]+">(.*?)</script>', text, re.S)
    assert len(scripts) > 5
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []


def test_a_script_with_an_end_tag_is_refused(quick, model_directory, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "asset", lambda name: "'</SCRIPT>'")
    with pytest.raises(ExportError, match=r"elements\.js contains </script"):
        export_web(model_directory, tmp_path / "web", single_file=True)
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_replaced_as_a_whole(quick, model_directory, tmp_path, monkeypatch):
    output = tmp_path / "web"
    export_web(model_directory, output)
    (output / "models" / "old.tflite").touch()
    export_web(model_directory, output)
    assert not (output / "models" / "old.tflite").exists()
    before = sorted(output.rglob("*"))

    def fail(*_, **__):
        raise ExportError("no")

    monkeypatch.setattr(web, "export_tflite", fail)
    with pytest.raises(ExportError):
        export_web(model_directory, output)
    assert sorted(output.rglob("*")) == before
    assert list(tmp_path.iterdir()) == [output]


def test_another_folder_is_not_replaced(quick, model_directory, tmp_path):
    (tmp_path / "index.html").write_text("<title>My page</title>")
    with pytest.raises(FileExistsError, match="not written by"):
        export_web(model_directory, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_an_output_or_model_that_cannot_be_is_rejected_first(quick, model_directory, tmp_path):
    with pytest.raises(ValueError, match=r"output is a folder, whose page is index\.html"):
        export_web(model_directory, tmp_path / "page.html")
    with pytest.raises(FileNotFoundError, match=r"The model directory .*missing does not exist"):
        export_web(tmp_path / "missing", tmp_path / "web")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["CNAME", "models/notes.txt"])
def test_a_page_with_other_files_is_not_replaced(quick, model_directory, tmp_path, name):
    export_web(model_directory, tmp_path / "web")
    (tmp_path / "web" / name).touch()
    with pytest.raises(FileExistsError, match=f"would be deleted .{Path(name).name}"):
        export_web(model_directory, tmp_path / "web")
    assert (tmp_path / "web" / name).is_file()


def test_the_working_directory_is_not_replaced(quick, model_directory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileExistsError, match="use a folder inside of it"):
        export_web(model_directory, ".")


def test_a_model_inside_of_the_output_is_not_deleted(quick, model_directory, tmp_path):
    model = shutil.copytree(model_directory, tmp_path / "web" / "model")
    with pytest.raises(ValueError, match="is inside of the output folder"):
        export_web(model, tmp_path / "web")
    assert (model / "model.keras").is_file()


def test_a_symbolic_link_stays_one(quick, model_directory, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    export_web(model_directory, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "index.html").is_file()


def test_models_of_other_source_languages_are_refused(
    quick, model_directory, tmp_path, monkeypatch
):
    other = shutil.copytree(model_directory, tmp_path / "other")
    monkeypatch.setattr(
        web, "languages", lambda each: {"source_language": "fr" if each == other else "de"}
    )
    with pytest.raises(ValueError, match=r"reads 'de' and .*other reads 'fr'"):
        export_web([model_directory, other], tmp_path / "web")


@pytest.mark.parametrize(
    ("directories", "names"),
    [
        (["study/attention", "study/fixed vector"], ["attention", "fixed-vector"]),
        (["a/model", "b/model"], ["a-model", "b-model"]),
        (["model/"], ["model"]),
        (["a/Model", "b/model"], ["a-Model", "b-model"]),
        (["/x/fixed vector", "/x/fixed-vector"], ["x-fixed-vector-1", "x-fixed-vector-2"]),
    ],
)
def test_models_have_short_names(directories, names):
    assert web.model_names(directories) == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "models is empty"),
        ({"models": ["model", "model/"]}, "given twice"),
        ({"examples": "ein Haus"}, "one string"),
        ({"examples": ["ein Haus", ""]}, "An example must have text, got ''"),
        ({"examples": [" \u200b"]}, "An example must have text"),
        ({"output": "gs://bucket/page"}, "is a URL; expected a local path"),
    ],
)
def test_bad_arguments(quick, model_directory, tmp_path, arguments, message):
    models = [model_directory.parent / each for each in arguments.get("models", ["model"])]
    with pytest.raises(ValueError, match=message):
        output = arguments.get("output", tmp_path / "web")
        export_web(models, output, examples=arguments.get("examples", ()))
    assert list(tmp_path.iterdir()) == []


def _suffix(model):
    model.trainer_spec.treat_whitespace_as_suffix = True


def _denormalizer(model):
    model.denormalizer_spec.precompiled_charsmap = b"x"


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_suffix, "suffix"), (_denormalizer, "denormalizer")],
)
def test_a_vocabulary_that_the_page_cannot_read_is_refused(model_directory, change, reason):
    tokenizer = Tokenizer.load(model_directory / "source.spm")
    web.check_vocabulary(tokenizer, "source vocabulary")
    model = ModelProto.FromString(tokenizer.model_proto)
    change(model)
    changed = types.SimpleNamespace(model_proto=model.SerializeToString())
    with pytest.raises(ExportError, match=f"read the source vocabulary: .*{reason}"):
        web.check_vocabulary(changed, "source vocabulary")


def test_the_bundle_has_neither_imports_nor_exports():
    script = web_runtime.bundle(CORE, WASM_UTILS)
    assert not re.search(r"^(import|export)\b|sourceMappingURL", script, re.M)
    assert "globalThis.LiteRT" in script


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"@litertjs/wasm-utils"', '"./wasm_utils.js"'),
        ("export {", 'import "./other.js";\nexport {'),
        ("  Tensor,\n", ""),
        ("};", "};\nexport {};"),
        ("//# sourceMappingURL=index.js.map\n", ""),
        ("export {", "export default {"),
    ],
)
def test_a_runtime_that_is_written_in_another_way_is_refused(old, new):
    assert CORE.count(old) >= 1
    with pytest.raises(ExportError, match=r"LiteRT\.js is not written as version"):
        web_runtime.bundle(CORE.replace(old, new, 1), WASM_UTILS)
    with pytest.raises(ExportError, match=r"LiteRT\.js is not written as version"):
        web_runtime.bundle(CORE, WASM_UTILS.replace("createWasmLib", "other"))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Neither npm, nor a network, nor anything in the cache."""

    def urlopen(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return tmp_path


def test_without_a_network_the_error_says_what_to_do(offline):
    with pytest.raises(OSError, match=r"npm is not installed.*no route.*npm pack.*--runtime"):
        web_runtime.runtime_files()
    with pytest.raises(FileNotFoundError, match="npm pack"):
        web_runtime.runtime_files(offline)


def test_an_archive_is_downloaded_once(offline, monkeypatch):
    digest = base64.b64encode(hashlib.sha512(b"archive").digest()).decode()
    package = web_runtime.Package("@litertjs/core", "core.tgz", digest)
    monkeypatch.setattr(web_runtime, "_downloaded", lambda _: (b"archive", "there"))
    assert web_runtime._archive(package, None) == b"archive"
    monkeypatch.setattr(web_runtime, "_downloaded", None)
    assert web_runtime._archive(package, None) == b"archive"
    # What has been damaged in the cache is replaced, and what comes damaged is refused.
    (web_runtime.cache_folder() / "core.tgz").write_bytes(b"archivf")
    monkeypatch.setattr(web_runtime, "_downloaded", lambda _: (b"archive", "there"))
    assert web_runtime._archive(package, None) == b"archive"
    (web_runtime.cache_folder() / "core.tgz").unlink()
    monkeypatch.setattr(web_runtime, "_downloaded", lambda _: (b"archivf", "there"))
    with pytest.raises(ExportError, match="there is damaged"):
        web_runtime._archive(package, None)
    assert list(web_runtime.cache_folder().iterdir()) == []


def test_a_page_without_its_policy_is_refused():
    with pytest.raises(ExportError, match="0 content security policies"):
        web_single_file.joined({"index.html": b"<title>x</title>"})
