"""Files in, files out: the lines of `translate`, nothing lost or shifted."""

import gzip
import json
import os
import re
import resource
import subprocess
import sys

import pytest
from bulk_files import content_of, finished_parts, many_lines

pytest.importorskip("apache_beam", reason="no Beam here: make test-beam")
from keras_attn_nmt.bulk import BulkOptions, JobFailed, bulk_translate, storage


def write(path, content):
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_files_have_the_lines_of_translate(command, device_file, tmp_path):
    (tmp_path / "in").mkdir()
    text = "\n".join(many_lines(300)).encode()
    files = {
        "long.txt": text + b"\n",
        "packed.txt.gz": text + b"\nSee",
        "blank.txt": b"\n  \n\n",
        "empty.txt": b"",
        "nothing.gz": b"",
        "windows.txt": b"\xef\xbb\xbfein Haus\r\n\r\nSee\r\n",
        "ä b.txt": b"ein Haus",
    }
    for name, content in files.items():
        write(tmp_path / "in" / name, content)
    # Parts of 64 lines.
    search = ["--beam-size", "1", "--batch-size", "2"]
    arguments = [*search, "--input", f"{tmp_path}/in/*", "--output", tmp_path / "out"]
    code, out, err = command("bulk-translate", device_file, *arguments)
    assert (code, out) == (0, b"7 files, 608 lines, 0 lines not translated\n")
    assert err.startswith("Runs on FnApiRunner")
    (cut,) = err.splitlines()[1:]
    found = content_of(tmp_path / "out")
    assert set(found) == set(files)
    counted = 0
    for name, content in files.items():
        _, wanted, err = command("translate", device_file, *search, text=content)
        counted += sum(map(int, re.findall(r"^(\d+) translations reached", err, re.MULTILINE)))
        assert wanted == (gzip.decompress(found[name]) if name.endswith(".gz") else found[name])
    assert counted
    assert cut.startswith(f"{counted} translations of this run reached the maximum length")
    assert not finished_parts(tmp_path / "out")


@pytest.mark.parametrize("form", ["json", "moses", "text"])
def test_forms_and_n_best_are_those_of_translate(command, job, device_file, tmp_path, form):
    text = b"ein Haus\n\nzwei kleine " + "Häuser\nSee\n".encode() * 40
    write(tmp_path / "in" / "a.txt.gz", text)
    job(form=form, n_best=2, alignment=True, search={"beam_size": 2})
    options = ["--json"] if form == "json" else ["--format", form]
    options += ["--n-best", "2", "--beam-size", "2", "--batch-size", "2"]
    _, wanted, _ = command("translate", device_file, *options, text=text)
    found = content_of(tmp_path / "out")
    assert gzip.decompress(found["a.txt.gz"]) == wanted
    links = gzip.decompress(found["a.txt.align.gz"]).decode().split("\n")
    if form == "json":
        rows = [json.loads(line) for line in wanted.splitlines()]
        assert links == [row["alignment"] for row in rows if row["rank"] == 1] + [""]


def test_lines_that_fail_are_empty_and_listed(job, tmp_path):
    lines = [b"ein Haus"] * 100
    lines[3], lines[70], lines[80] = b"\xff\xfe", b"ein Haus " * 30, b"x" * (1 << 21)
    write(tmp_path / "in" / "a.txt", b"\n".join(lines))
    report = job()
    assert (report.lines, report.failed_lines, report.metrics["failed_lines"]) == (100, 3, 3)
    found = content_of(tmp_path / "out")
    translations = found["a.txt"].split(b"\n")
    assert [number for number, each in enumerate(translations) if not each] == [3, 70, 80, 100]
    assert len(set(translations)) == 2
    path = str(tmp_path / "in" / "a.txt")
    rows = [json.loads(row) for row in found["a.txt.failed.jsonl"].splitlines()]
    assert [(row["file"], row["line"]) for row in rows] == [(path, 4), (path, 71), (path, 81)]
    assert "0xff at position 0" in rows[0]["reason"]
    assert "tokens, the limit is 32: skipped" in rows[1]["reason"]
    assert "2,097,153 bytes" in rows[2]["reason"]


def test_lines_that_are_too_long_can_be_cropped_or_split(job, tmp_path):
    text = "zwei kleine Häuser. ein Haus am See, " * 12
    write(tmp_path / "in" / "a.txt", f"{text}\nSee\n".encode())
    assert job(too_long="crop", output="crop").failed_lines == 1
    assert job(too_long="split", output="split", alignment=True).failed_lines == 0
    cropped, split = (content_of(tmp_path / each)["a.txt"] for each in ("crop", "split"))
    assert cropped.split(b"\n")[0] and len(split) > len(cropped)
    assert cropped.split(b"\n")[1:] == split.split(b"\n")[1:]
    links = content_of(tmp_path / "split")["a.txt.align"].decode().split("\n")[0]
    assert max(int(link.split("-")[0]) for link in links.split()) > len(text.split()) / 2


def test_a_file_that_cannot_be_read_stops_no_other(command, device_file, tmp_path):
    (tmp_path / "in").mkdir()
    packed = gzip.compress(("\n".join(many_lines(500)) + "\n").encode())
    (tmp_path / "in" / "cut.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "in" / "wide.txt").write_bytes("ein Haus".encode("utf-16"))
    (tmp_path / "in" / "good.txt").write_bytes(b"ein Haus\n")
    arguments = ["--beam-size", "1", "--input", tmp_path / "in/*", "--output", tmp_path / "out"]
    code, out, err = command("bulk-translate", device_file, *arguments)
    assert code == 1
    assert "2 files could not be read" in err
    found = content_of(tmp_path / "out")
    assert set(found) == {"cut.gz.failed.jsonl", "wide.txt.failed.jsonl", "good.txt"}
    assert "UTF-16" in json.loads(found["wide.txt.failed.jsonl"])["reason"]
    # With better files, the same command goes on.
    (tmp_path / "in" / "cut.gz").write_bytes(packed)
    (tmp_path / "in" / "wide.txt").write_bytes(b"ein Haus\n")
    code, out, err = command("bulk-translate", device_file, *arguments)
    assert (code, out) == (0, b"3 files, 502 lines, 0 lines not translated\n")
    assert "1 of 3 files are finished already" in err
    assert set(content_of(tmp_path / "out")) == {"cut.gz", "wide.txt", "good.txt"}


def test_a_text_that_a_model_fails_on_stops_no_other(job, tmp_path, monkeypatch):
    from keras_attn_nmt.export.runner import TFLiteTranslator

    nbest = TFLiteTranslator.nbest

    def failing(self, texts, **options):
        if "See" in texts:
            raise RuntimeError("no such lake")
        return nbest(self, texts, **options)

    monkeypatch.setattr(TFLiteTranslator, "nbest", failing)
    write(tmp_path / "in" / "a.txt", b"ein Haus\nSee\nein Haus\n")
    assert job().failed_lines == 1
    one, two, three, _ = content_of(tmp_path / "out")["a.txt"].split(b"\n")
    assert one == three != b"" == two
    write(tmp_path / "in" / "b.txt", b"See\nSee\n")
    with pytest.raises(JobFailed, match="no such lake"):
        job()
    write(tmp_path / "in" / "b.txt", b"See\n")
    job()
    assert (tmp_path / "out" / "b.txt").read_bytes() == b"\n"


@pytest.mark.parametrize("form", ["text", "moses"])
def test_what_is_put_together_is_counted(job, tmp_path, monkeypatch, form):
    from keras_attn_nmt.bulk import merging

    write(tmp_path / "in" / "a.txt", "\n".join(many_lines(200)).encode())
    whole = merging.merge
    monkeypatch.setattr(merging, "merge", lambda *_: None)
    monkeypatch.setattr("keras_attn_nmt.bulk.pipeline.merge", lambda *_: None)
    job(form=form)
    monkeypatch.setattr("keras_attn_nmt.bulk.pipeline.merge", whole)
    _, two, *_ = sorted(finished_parts(tmp_path / "out"))
    content = two.read_bytes()
    two.write_bytes(content[content.index(b"\n") + 1 :])
    with pytest.raises(JobFailed, match=f"{two.name} has .* of 64 lines: delete it"):
        job(form=form)
    assert not content_of(tmp_path / "out")
    two.unlink()
    assert job(form=form).lines == 200


def test_an_output_belongs_to_one_job(job, tmp_path):
    write(tmp_path / "in" / "a.txt", b"ein Haus\n")
    job()
    assert job().finished_before == 1
    with pytest.raises(FileExistsError, match="begun with another n_best \\(1, now 2\\)"):
        job(n_best=2, search={"beam_size": 2})
    write(tmp_path / "in" / "a.txt", b"ein Haus am See\n")
    with pytest.raises(FileExistsError, match=r"16 bytes, then 9\): remove .*out/a.txt"):
        job()
    (tmp_path / "out" / "a.txt").unlink()
    assert job().finished_before == 0
    (tmp_path / "in" / "b.txt").write_bytes(b"See\n")
    (tmp_path / "out" / "b.txt").write_bytes(b"my notes\n")
    with pytest.raises(FileExistsError, match=r"b.txt exists and was not written by"):
        job()


def test_wrong_use(device_file, tmp_path):
    def run(inputs, output="out", **options):
        bulk_translate(device_file, inputs, str(tmp_path / output), BulkOptions(**options))

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_bytes(b"See\n")
    one, two = (str(tmp_path / folder / "a.txt") for folder in ("one", "two"))
    with pytest.raises(ValueError, match=r"would both write a\.txt"):
        run([one, two])
    with pytest.raises(ValueError, match="is the folder of"):
        run([one], output="one")
    with pytest.raises(FileNotFoundError, match="No file matches"):
        run([one, str(tmp_path / "three" / "*")])
    with pytest.raises(ValueError, match=r"n_best=9 .* of 9 or larger"):
        run([one], n_best=9)
    with pytest.raises(ValueError, match="no option --direct_num_worker=2"):
        bulk_translate(device_file, [one], str(tmp_path / "out"), None, ["--direct_num_worker=2"])
    with pytest.raises(FileNotFoundError, match=r"model nowhere\.tflite does not exist"):
        bulk_translate("nowhere.tflite", [one], str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_workers_that_are_threads_are_named(caplog):
    from keras_attn_nmt.bulk.runners import pipeline_options

    pipeline_options(["--direct_num_workers=2", "--direct_running_mode=multi_processing"])
    assert "threads" not in caplog.text
    pipeline_options(["--direct_num_workers=2"])
    assert "add --direct_running_mode=multi_processing" in caplog.text


def test_patterns_match_as_in_a_shell(tmp_path):
    from keras_attn_nmt.bulk import storage

    for name in ("a[1].txt", ".hidden", "b c"):
        (tmp_path / name).write_bytes(b"See\n")

    def names(*patterns):
        return [storage.name_of(file.path) for file in storage.find(patterns)]

    assert names(f"{tmp_path}/*") == ["a[1].txt", "b c"]
    assert names(f"{tmp_path}/.h*", f"{tmp_path}/b c", f"{tmp_path}/b*") == [".hidden", "b c"]
    assert names(f"{tmp_path}/a[1].txt") == ["a[1].txt"]
    assert storage.find([f"{tmp_path}/b c"]) == storage.find([f"{tmp_path}/b*"])


def test_a_path_with_a_bracket_is_no_pattern_where_a_file_is_removed(tmp_path):
    one, other = tmp_path / "a[1].txt", tmp_path / "a1.txt"
    for path in (one, other):
        path.write_bytes(b"See\n")
    storage.delete(str(one))
    storage.delete(str(one))
    assert list(tmp_path.iterdir()) == [other]
    with pytest.raises(KeyError), storage.writing(str(one), str(tmp_path / "[b]")):
        raise KeyError
    assert not list((tmp_path / "[b]").iterdir())


def test_a_file_may_have_a_long_name(job, tmp_path):
    # 238 bytes: with what is added, the names of its parts have 255, as many as file systems take.
    name = "日" * 78 + ".txt"
    write(tmp_path / "in" / name, b"ein Haus\n\xff\n")
    assert job(alignment=True).failed_lines == 1
    found = content_of(tmp_path / "out")
    assert set(found) == {name, f"{name}.align", f"{name}.failed.jsonl"}
    assert found[name].count(b"\n") == 2


def test_a_name_that_is_too_long_is_refused_before_the_job(job, tmp_path):
    name = "x" * 239
    write(tmp_path / "in" / name, b"ein Haus\n")
    with pytest.raises(ValueError, match=rf"in/{name} has 239 bytes: expected at most 238"):
        job()
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_loaded_begins_no_job(job, device_file, model_directory, tmp_path):
    write(tmp_path / "in" / "a.txt", b"ein Haus\n")
    with pytest.raises(JobFailed, match=r"n_best=3 .* of 3 or larger"):
        job(model=model_directory, n_best=3, search={})
    assert not content_of(tmp_path / "out")
    assert job().files == 1


def test_changed_sources_are_noticed(job, tmp_path, monkeypatch):
    from keras_attn_nmt.bulk import pipeline

    path = tmp_path / "in" / "a.txt"
    write(path, b"ein Haus\n")
    read = pipeline.read_lines

    def changed_meanwhile(*arguments):
        write(path, b"zwei Hau\n")
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "read_lines", changed_meanwhile)
        with pytest.raises(JobFailed, match="was changed while it was translated"):
            job()
    assert not finished_parts(tmp_path / "out")
    job()
    # The same content at another time, then other content of the same size.
    os.utime(path, (1, 1))
    assert job().finished_before == 1
    write(path, b"ein Auto\n")
    with pytest.raises(FileExistsError, match="is not what it was when it was translated"):
        job()


def test_a_tflite_file_needs_no_tensorflow(device_file, tmp_path):
    (tmp_path / "in.txt").write_bytes(b"ein Haus\n")
    program = (
        "import sys; from keras_attn_nmt import cli; cli.main(sys.argv[1:]);"
        "print([name for name in ('keras', 'tensorflow') if name in sys.modules])"
    )
    arguments = ["bulk-translate", device_file, "--input", tmp_path / "in.txt"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--output", tmp_path / "out"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["1 file, 1 line, 0 lines not translated", "[]"]


def test_parts_of_an_earlier_content_are_removed_when_the_file_is_finished(
    job, tmp_path, monkeypatch
):
    from keras_attn_nmt.bulk.folders import Job, Source
    from keras_attn_nmt.bulk.progress import Progress

    path = tmp_path / "in" / "a.txt"
    work = tmp_path / "out" / ".bulk-translate"
    # Another file, whose name is that of a folder of parts, and one that is not asked for.
    write(tmp_path / "in" / f"a.txt.{'0' * 16}", b"See\n")
    (work / f"b.txt.{'1' * 16}").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr("keras_attn_nmt.bulk.pipeline.merge", lambda *_: None)
        for count in (200, 100):
            write(path, b"ein Haus\n" * count)
            job()
    folders = [folder for folder in work.glob("a.txt.*/") if (folder / "plan.json").is_file()]
    assert len(folders) == 3
    source = Source("a.txt", str(path), 900, 0.0)
    progress = Progress(Job("", str(tmp_path / "out"), BulkOptions()), [source], None)
    assert progress._message() == "0 of 1 files, 100 of 100 lines"
    assert job().lines == 101
    assert progress._message() == "1 of 1 files, 100 of 100 lines"
    assert [folder.name for folder in work.glob("*/")] == [f"b.txt.{'1' * 16}"]


# Fails when the buffer is full, or when it is flushed.
@pytest.mark.parametrize("size", [100_000, 100])
def test_errors_of_writing_name_the_file(tmp_path, size):
    path = tmp_path / "out.txt"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as raised:
            storage.write(str(path), b"x" * size, str(tmp_path / "scratch"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(path)
    assert not path.exists() and not list((tmp_path / "scratch").iterdir())


def test_an_fsync_that_fails_names_the_file_and_publishes_nothing(tmp_path, monkeypatch):
    def failing(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    path = tmp_path / "out.txt"
    with pytest.raises(OSError, match=r"out\.txt"):
        storage.write(str(path), b"x", str(tmp_path))
    assert not path.exists()
