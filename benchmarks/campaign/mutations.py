"""Seeded mutations of files and texts, for `campaign.fuzz`.

Every function takes a `random.Random`; the same seed gives the same bytes.
"""

import functools
import gzip
import io
import json
import math
import random
import re
import zipfile

BOMB_BYTES = 3_000_000_000
ODD_NUMBERS = (0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, 1e-320)
ODD_TEXTS = (
    *("", " ", "\0", "\ud800", "../../outside", "/outside", "~", "a" * 100_000, "\x1b[31m", "٣"),
    *("NaN", "null", "true", "-1", "1e999", "\u2028", "\ufeff", "\\", '"', "'", "{}", "%s", "${x}"),
)
ODD_BYTES = (
    b"\0",
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\r",
    b"\n",
    b"\t",
    b"\x85",
)


def text(rng: random.Random, most: int = 60) -> str:
    """A text of any planes of Unicode with controls, without surrogates."""
    return "".join(_character(rng) for _ in range(rng.randrange(most)))


def _character(rng: random.Random) -> str:
    kind = rng.randrange(8)
    if kind == 0:
        return chr(rng.randrange(0x20))
    if kind == 1:
        return rng.choice(
            "\u200b\u200d\u202e\u2028\u0085\ufeff\u2581\u2585\ufdd0\u0301\u3000\ufffd"
        )
    if kind in (2, 3):
        return rng.choice("abcäöß ")
    if kind == 4:
        return rng.choice("<>&/\"'=;#%@:.-0123456789()[]{}|\\")
    code = rng.randrange(0x10000) if kind == 5 else (rng.randrange(17) << 16) + rng.randrange(65536)
    return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"


def damaged(rng: random.Random, data: bytes) -> bytes:
    """What a bad disk, transfer or editor makes of a file: never the same bytes."""
    result = data
    while result == data:
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            result = rng.choice(DAMAGES)(rng, result)
    return result


def _flipped(rng, data):
    content = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def _truncated(rng, data):
    return data[: rng.randrange(len(data) + 1)]


def _cut(rng, data):
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _doubled(rng, data):
    start, end = _span(rng, data)
    return data[:end] + data[start:]


def _spliced(rng, data):
    start, end = _span(rng, data)
    first, last = _span(rng, data)
    return data[:start] + data[first:last] + data[end:]


def _overwritten(rng, data):
    start, end = _span(rng, data)
    new = rng.choice((bytes(end - start), b"\xff" * (end - start), rng.randbytes(end - start)))
    return data[:start] + new + data[end:]


def _integer(rng, data):
    size = rng.choice((1, 2, 4, 8))
    place = rng.randrange(len(data) + 1)
    value = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1))
    return data[:place] + value.to_bytes(size, "little") + data[place + size :]


def _inserted(rng, data):
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(ODD_BYTES) * rng.choice((1, 1, 3)) + data[place:]


DAMAGES = (_flipped, _truncated, _cut, _doubled, _spliced, _overwritten, _integer, _inserted)


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + int(2 ** rng.uniform(0, 10)))


def odd_value(rng: random.Random, depth: int = 2):
    """A JSON value that few programs expect."""
    kind = rng.randrange(7)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind == 1:
        return rng.choice((math.nan, math.inf, -math.inf))
    if kind in (2, 3):
        return rng.choice(ODD_NUMBERS)
    if kind == 4 or not depth:
        return rng.choice(ODD_TEXTS)
    if kind == 5:
        return [odd_value(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {rng.choice(ODD_TEXTS): odd_value(rng, depth - 1) for _ in range(rng.randrange(3))}


def changed_values(rng: random.Random, document, times: int):
    """A JSON document with values replaced, and keys removed, renamed or added."""
    document = json.loads(json.dumps(document))
    for _ in range(times):
        all_places = list(places(document))
        if not all_places:
            return odd_value(rng)
        holder, key = rng.choice(all_places)
        what = rng.randrange(6)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            holder[rng.choice((f"{key}s", key[:-1], rng.choice(ODD_TEXTS)))] = holder.pop(key)
        elif what == 2:
            other, name = rng.choice(all_places)
            holder[key] = json.loads(json.dumps(other[name]))
        else:
            holder[key] = odd_value(rng)
    return document


def places(document):
    """The holder and the key or index of each value in a JSON document."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        yield document, key
        if isinstance(value, dict | list):
            yield from places(value)


def changed_json(rng: random.Random, data: bytes) -> bytes:
    """A JSON file: changed values, damaged bytes, nested too deep, or keys given twice."""
    kind = rng.randrange(10)
    if kind < 2:
        return damaged(rng, data)
    if kind == 2:
        return rng.choice(
            (b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"{}", b"[]", b"", b"5")
        )
    document = json.loads(data)
    if kind == 3 and isinstance(document, dict) and document:
        key = json.dumps(rng.choice(list(document)))
        return b"{" + f"{key}: {json.dumps(odd_value(rng))}, ".encode() + data.lstrip()[1:]
    return json.dumps(changed_values(rng, document, rng.choice((1, 1, 2, 4)))).encode()


def toml_value(value) -> str:
    """A value in TOML, as far as TOML has it."""
    if value is None:
        return '""'
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=True)


def changed_toml(rng: random.Random, data: bytes) -> bytes:
    """A TOML file: values, keys and sections replaced, lines moved, or damaged bytes."""
    kind = rng.randrange(10)
    if kind < 2:
        return damaged(rng, data)
    if kind == 2:
        deep = rng.choice(("[" * 50_000, "{a=" * 50_000, "9" * 5000, "1979-05-27", "[[1]]"))
        return data + f"\n[training]\nepochs = {deep}".encode()
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(lines))
        key, equals, value = lines[place].partition("=")
        what = rng.randrange(6)
        if what == 0:
            lines.insert(rng.randrange(len(lines)), lines.pop(place))
        elif what == 1:
            lines.insert(place, rng.choice(lines))
        elif what == 2 and equals:
            other = rng.choice(re.findall(r"^\w+(?= =)", data.decode(), re.MULTILINE))
            lines[place] = f"{other} ={value}"
        elif equals:
            lines[place] = f"{key}= {toml_value(odd_value(rng))}"
        else:
            lines[place] = f"[{rng.choice(('data', 'model', 'search', '[data.mix]', 'x', ''))}]"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def zip_members(data: bytes) -> dict[str, bytes]:
    """The members of a ZIP file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members, prefix: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP file of `(name, content)`, names as often as they are given."""
    file = io.BytesIO(prefix)
    with zipfile.ZipFile(file, "a", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


@functools.cache
def bomb(content: bytes) -> bytes:
    """A ZIP file with `BOMB_BYTES` zeros, which hardly take room, instead of each array."""
    file = io.BytesIO()
    # The fastest level, as no input may take minutes to make.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, member in zip_members(content).items():
            if name.endswith(".json"):
                archive.writestr(name, member)
                continue
            with archive.open(name, "w", force_zip64=True) as out:
                for _ in range(BOMB_BYTES // 10_000_000):
                    out.write(bytes(10_000_000))
    return file.getvalue()


def changed_zip(rng: random.Random, data: bytes, change) -> bytes:
    """A well-formed ZIP file with a member changed (`change(rng, name, content)`), removed,
    renamed, added or given twice."""
    members = list(zip_members(data).items())
    place = rng.randrange(len(members))
    name, content = members[place]
    what = rng.randrange(8)
    if what == 0:
        del members[place]
    elif what == 1:
        outside = (f"../{name}", f"/{name}", f"a/../../{name}", f"{name}/", name.upper(), "..\\x")
        members[place] = (rng.choice(outside), content)
    elif what == 2:
        members.append((rng.choice(("../outside", "/outside", "c:\\outside", "x")), b"x"))
    elif what == 3:
        members.append((f"{name}_", content))
    else:
        members[place] = (name, change(rng, name, content))
    rng.shuffle(members)
    return zipped(members, compression=rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def changed_text(rng: random.Random, data: bytes) -> bytes:
    """Lines of text: moved, doubled, joined, replaced by any text, or damaged bytes; or gzipped."""
    kind = rng.randrange(10)
    if kind < 3:
        data = damaged(rng, data)
    else:
        lines = data.split(b"\n")
        for _ in range(rng.choice((1, 2, 4))):
            place = rng.randrange(len(lines))
            new = text(rng).encode()
            lines[place] = rng.choice((new, lines[place] + new, b"", lines[place] + b"\r"))
            if not rng.randrange(4):
                lines.insert(place, rng.choice(lines))
        data = b"\n".join(lines)
    if rng.randrange(8):
        return data
    packed = gzip.compress(data, mtime=0)
    return packed if rng.randrange(3) else damaged(rng, packed)
