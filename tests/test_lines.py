"""Reading lines of a stream as they arrive."""

import io
import os

import pytest

from keras_attn_nmt.text.lines import arriving_lines


def lines_of(content, most=100):
    return list(arriving_lines(io.BytesIO(content), most, "input"))


@pytest.fixture
def pipe():
    """Both ends of a pipe: a binary stream, and a function that writes."""
    reading, writing = os.pipe()
    with open(reading, "rb") as stream, open(writing, "wb", buffering=0) as writer:
        yield stream, writer


def test_byte_order_mark_and_line_ends_are_stripped():
    content = "\ufeffein\r\n\n zwei\rdrei\u2028\x85vier\x0c\n\ufefffünf\r".encode()
    expected = ["ein", "", " zwei\rdrei\u2028\x85vier\x0c", "\ufefffünf\r"]
    assert lines_of(content) == [expected]
    assert lines_of(b"") == lines_of(b"", most=1) == []
    assert lines_of(b"\n") == [[""]]


def test_files_and_full_pipes_give_full_chunks(tmp_path, pipe):
    content = b"".join(b"line %d\n" % number for number in range(1000))
    expected = [512, 488]
    (tmp_path / "file").write_bytes(content)
    with open(tmp_path / "file", "rb") as file:
        assert [len(chunk) for chunk in arriving_lines(file, 512, "file")] == expected
    stream, writer = pipe
    writer.write(content)
    writer.close()
    chunks = list(arriving_lines(stream, 512, "pipe"))
    assert [len(chunk) for chunk in chunks] == expected
    assert [line for chunk in chunks for line in chunk] == content.decode().splitlines()


def test_line_longer_than_the_pipe_buffer():
    long = b"x" * 300_000
    assert lines_of(b"a\n" + long + b"\nb\n" + long) == [["a", long.decode(), "b", long.decode()]]


def test_lines_are_available_immediately(pipe):
    stream, writer = pipe
    chunks = arriving_lines(stream, 100, "pipe")
    writer.write(b"ein\nzw")
    assert next(chunks) == ["ein"]
    writer.write("ölf".encode()[:-1] + b"\n")
    assert next(chunks) == ["zwöl"]
    writer.write("ü".encode()[:1])
    writer.write("ü".encode()[1:] + b"nf")
    writer.close()
    assert next(chunks) == ["ünf"]
    assert next(chunks, None) is None


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_rejected(encoding):
    with pytest.raises(ValueError, match="input is UTF-16; expected UTF-8"):
        lines_of("\ufeffein\n".encode(encoding))


def test_lines_before_invalid_utf8_are_returned():
    chunks = arriving_lines(io.BytesIO(b"a\nb\nc\n\xe4\nd\n"), 2, "input")
    assert [next(chunks), next(chunks)] == [["a", "b"], ["c"]]
    with pytest.raises(ValueError, match="input, line 4: not UTF-8"):
        next(chunks)
