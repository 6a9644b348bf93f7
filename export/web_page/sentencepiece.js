// SentencePiece for a web page: reads a vocabulary (.spm) of any model type and has the ids and texts
// of `Tokenizer` in Python with SentencePiece 0.2.3. Versions before 0.2.2, such as the one
// in TF Text, round the scores of a unigram model in another way, and may segment repeated letters
// differently where segmentations have the same score.
//
// C++ works on UTF-8 bytes, and so does this file: `bytes` is a string with one character for each
// byte, which can be cut, joined, compared and looked up like any string. Arguments
// and return values of `SentencePiece` are ordinary strings.
//
// Reference: Kudo & Richardson, "SentencePiece: A simple and language independent subword tokenizer
// and detokenizer for Neural Text Processing", EMNLP 2018.

"use strict";

(() => {
  const [PAD, BOS, EOS, UNK] = [0, 1, 2, 3];

  // ModelProto.SentencePiece.Type and TrainerSpec.ModelType of sentencepiece_model.proto.
  const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6];
  const MODEL_TYPES = { 1: "unigram", 2: "bpe", 3: "word", 4: "char" };

  const SPACE = bytesOf("\u2581");
  const UNKNOWN_SURFACE = bytesOf(" \u2047 ");
  const REPLACEMENT = bytesOf("\ufffd");

  function bytesOf(text) {
    return fromArray(new TextEncoder().encode(text));
  }

  function fromArray(array) {
    let bytes = "";
    for (const byte of array) bytes += String.fromCharCode(byte);
    return bytes;
  }

  function textOf(bytes) {
    const array = Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(array);
  }

  /** Length of the character at a position, by its first byte. */
  function characterLength(bytes, start) {
    const first = bytes.charCodeAt(start);
    return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  }

  /** Each byte that belongs to no character becomes U+FFFD; TextDecoder joins some. */
  function repaired(bytes) {
    let valid = "";
    for (let start = 0; start < bytes.length; ) {
      const character = bytes.slice(start, start + characterLength(bytes, start));
      const isValid = bytesOf(textOf(character)) === character;
      valid += isValid ? character : REPLACEMENT;
      start += isValid ? character.length : 1;
    }
    return valid;
  }

  /** The byte of a piece such as "<0xE2>". */
  function byteOf(piece) {
    return parseInt(piece.slice(3, 5), 16);
  }

  /** A protobuf message: for each field number its values, numbers or arrays of bytes. */
  function readMessage(array) {
    const view = new DataView(array.buffer, array.byteOffset, array.length);
    const fields = new Map();
    let position = 0;
    const varint = () => {
      for (let value = 0, scale = 1; ; scale *= 128) {
        const byte = view.getUint8(position++);
        value += (byte & 0x7f) * scale;
        if (byte < 0x80) return value;
      }
    };
    const skip = (length) => {
      position += length;
      if (position > array.length) throw new RangeError("the message is cut off");
      return position - length;
    };
    const readers = {
      0: varint,
      2: () => {
        const length = varint();
        return array.subarray(skip(length), position);
      },
      5: () => view.getFloat32(skip(4), true),
    };
    while (position < array.length) {
      const tag = varint();
      const number = Math.floor(tag / 8);
      if (!fields.has(number)) fields.set(number, []);
      fields.get(number).push(readers[tag % 8]());
    }
    return fields;
  }

  /** The fields of a ModelProto that encoding and decoding depend on. */
  function readModel(array) {
    const none = new Uint8Array();
    const last = (fields, number, otherwise) => fields.get(number)?.at(-1) ?? otherwise;
    const model = readMessage(array);
    const trainer = readMessage(last(model, 2, none));
    const normalizer = readMessage(last(model, 3, none));
    const rules = last(normalizer, 2, none);
    const unknownSurface = last(trainer, 44);
    return {
      pieces: (model.get(1) ?? []).map((message) => {
        const piece = readMessage(message);
        const bytes = fromArray(last(piece, 1, none));
        return { bytes, score: last(piece, 2, 0), type: last(piece, 3, NORMAL) };
      }),
      type: MODEL_TYPES[last(trainer, 3, 1)],
      spaceAsSuffix: last(trainer, 24, 0),
      byteFallback: last(trainer, 35, 0),
      unknownSurface: unknownSurface ? fromArray(unknownSurface) : UNKNOWN_SURFACE,
      rules: rules.length > 0 ? new Rules(rules) : null,
      dummyPrefix: last(normalizer, 3, 1),
      removeExtraSpaces: last(normalizer, 4, 1),
      space: last(normalizer, 5, 1) ? SPACE : " ",
      denormalizes: last(readMessage(last(model, 5, none)), 2, none).length > 0,
    };
  }

  /** Throws an Error for features that Python supports but this file does not. */
  function checkModel({ pieces, type, spaceAsSuffix, denormalizes }) {
    const special = [PAD, BOS, EOS, UNK].map((id) => pieces[id]?.type);
    const reasons = [
      ["its type is unknown", !SEGMENTATIONS[type]],
      ["its pieces end, rather than begin, with a space", spaceAsSuffix],
      ["it has normalization rules for decoded texts", denormalizes],
      [
        "its special ids are not pad 0, bos 1, eos 2 and unk 3",
        String(special) !== String([CONTROL, CONTROL, CONTROL, UNKNOWN]),
      ],
      ["a piece contains NUL", pieces.some((piece) => piece.bytes.includes("\0"))],
    ];
    const found = reasons.find(([, applies]) => applies);
    if (found) throw new Error(`the vocabulary does not work in a web page: ${found[0]}`);
  }

  /** The normalization rules: a double array (Darts-clone), and replacements that end with NUL. */
  class Rules {
    #units;
    #replacements;

    constructor(array) {
      const size = new DataView(array.buffer, array.byteOffset, array.length).getUint32(0, true);
      this.#units = new Uint32Array(array.slice(4, 4 + size).buffer);
      this.#replacements = fromArray(array.subarray(4 + size));
    }

    /** The longest rule at a position: its replacement and its length, or null. */
    longest(bytes, start) {
      let rule = null;
      let node = Rules.#offset(this.#units[0]);
      for (let end = start; end < bytes.length; ) {
        const byte = bytes.charCodeAt(end++);
        const unit = this.#units[node ^ byte];
        // Bit 31 marks the unit of a value, bit 8 one that has a value.
        if ((unit & 0x800000ff) !== byte) break;
        node ^= byte ^ Rules.#offset(unit);
        if (unit & 0x100) rule = [this.#units[node] & 0x7fffffff, end - start];
      }
      if (!rule) return null;
      const [value, length] = rule;
      return [this.#replacements.slice(value, this.#replacements.indexOf("\0", value)), length];
    }

    static #offset(unit) {
      return (unit >>> 10) << ((unit & 0x200) >>> 6);
    }
  }

  /** A prefix tree of pieces. Nodes are numbers, the root is 0. */
  class Trie {
    #children = new Map();
    #ids = [-1];

    add(bytes, id) {
      let node = 0;
      for (let i = 0; i < bytes.length; i++) {
        const key = node * 256 + bytes.charCodeAt(i);
        if (!this.#children.has(key)) this.#children.set(key, this.#ids.push(-1) - 1);
        node = this.#children.get(key);
      }
      this.#ids[node] = id;
    }

    /** Calls `visit(end, id)` for each piece at a position, the shortest first. */
    match(bytes, start, visit) {
      for (let node = 0, end = start; end < bytes.length; ) {
        node = this.#children.get(node * 256 + bytes.charCodeAt(end++));
        if (node === undefined) return;
        if (this.#ids[node] >= 0) visit(end, this.#ids[node]);
      }
    }

    /** Length of the longest piece at a position, or 0. */
    longest(bytes, start) {
      let longest = 0;
      this.match(bytes, start, (end) => (longest = end - start));
      return longest;
    }
  }

  /** A binary heap: `pop` removes the item that is the last in the order of `compare`. */
  class Heap {
    #items = [];
    #compare;

    constructor(compare) {
      this.#compare = compare;
    }

    get size() {
      return this.#items.length;
    }

    push(item) {
      const items = this.#items;
      let place = items.length;
      for (let parent; place > 0; place = parent) {
        parent = (place - 1) >> 1;
        if (this.#compare(items[parent], item) >= 0) break;
        items[place] = items[parent];
      }
      items[place] = item;
    }

    pop() {
      const items = this.#items;
      const [found] = items;
      const item = items.pop();
      if (items.length === 0) return found;
      let place = 0;
      for (let child = 1; child < items.length; child = 2 * place + 1) {
        const next = child + 1;
        if (next < items.length && this.#compare(items[next], items[child]) > 0) child = next;
        if (this.#compare(item, items[child]) >= 0) break;
        items[place] = items[child];
        place = child;
      }
      items[place] = item;
      return found;
    }
  }

  /** A vocabulary, see `Tokenizer` (keras_attn_nmt/text/tokenizer.py). */
  class SentencePiece {
    #model;
    #userDefined = new Trie();
    #byteIds = [];
    #segment;

    /** @param {Uint8Array} file Content of an .spm file. */
    constructor(file) {
      try {
        this.#model = readModel(new Uint8Array(file));
      } catch (cause) {
        throw new Error("not a SentencePiece model, or a damaged one", { cause });
      }
      checkModel(this.#model);
      for (const [id, { bytes, type }] of this.#model.pieces.entries()) {
        if (type === USER_DEFINED) this.#userDefined.add(bytes, id);
        if (type === BYTE) this.#byteIds[byteOf(bytes)] = id;
      }
      this.#segment = SEGMENTATIONS[this.#model.type](this.#model.pieces, this.#userDefined);
    }

    /** Number of ids, including special ids. */
    get size() {
      return this.#model.pieces.length;
    }

    /** Ids of a text, without BOS and EOS. */
    encode(text) {
      if (/\p{Surrogate}/u.test(text)) {
        throw new Error("the text contains half a character (a lone surrogate)");
      }
      const ids = [];
      for (const [bytes, id] of this.#segment(this.#normalized(bytesOf(text)))) {
        if (id === UNK && this.#model.byteFallback) {
          for (const byte of bytes) ids.push(this.#byteIds[byte.charCodeAt(0)]);
        } else if (id !== UNK || ids.at(-1) !== UNK) {
          ids.push(id);
        }
      }
      return ids;
    }

    /** Text of ids; PAD, BOS and EOS are ignored. */
    decode(ids) {
      const { dummyPrefix, removeExtraSpaces, unknownSurface } = this.#model;
      const kept = Array.from(ids).filter((id) => this.#piece(id) && ![PAD, BOS, EOS].includes(id));
      let decoded = "";
      let queue = "";
      let dropSpace = dummyPrefix || removeExtraSpaces;
      for (const id of kept) {
        const { bytes, type } = this.#piece(id);
        if (type === BYTE) {
          queue += String.fromCharCode(byteOf(bytes));
          continue;
        }
        decoded += repaired(queue);
        queue = "";
        if (decoded) dropSpace = false;
        if (type === UNKNOWN) {
          decoded += unknownSurface;
        } else if (type !== CONTROL) {
          const dropped = dropSpace && bytes.startsWith(SPACE);
          decoded += (dropped ? bytes.slice(SPACE.length) : bytes).replaceAll(SPACE, " ");
          if (dropped && !removeExtraSpaces) dropSpace = false;
        }
      }
      decoded += repaired(queue);
      // <unk> is " ⁇ ": without its space at the start of a sentence.
      return textOf(kept[0] === UNK ? decoded.replace(/^ /, "") : decoded);
    }

    /** The piece of each id: "▁Haus", "</s>", "<0xE2>". */
    pieces(ids) {
      return Array.from(ids, (id) => textOf(this.#piece(id).bytes));
    }

    #piece(id) {
      const piece = this.#model.pieces[id];
      if (!piece) throw new Error(`id ${id} is out of range, 0 to ${this.size - 1}`);
      return piece;
    }

    #normalized(bytes) {
      const { dummyPrefix, removeExtraSpaces, space } = this.#model;
      if (!bytes) return "";
      let normalized = dummyPrefix ? space : "";
      let afterSpace = removeExtraSpaces;
      for (let start = 0; start < bytes.length; ) {
        const [replacement, length] = this.#normalizedAt(bytes, start);
        const kept = afterSpace ? replacement.replace(/^ +/, "") : replacement;
        if (kept) afterSpace = removeExtraSpaces && kept.endsWith(" ");
        normalized += kept.replaceAll(" ", space);
        start += length;
      }
      while (removeExtraSpaces && normalized.endsWith(space)) {
        normalized = normalized.slice(0, -space.length);
      }
      return normalized;
    }

    /** The normalized text at a position, and the number of bytes that it replaces. */
    #normalizedAt(bytes, start) {
      const userDefined = this.#userDefined.longest(bytes, start);
      const rule = userDefined ? null : this.#model.rules?.longest(bytes, start);
      if (rule) return rule;
      const length = userDefined || characterLength(bytes, start);
      return [bytes.slice(start, start + length), length];
    }
  }

  /** Unigram: the segments with the highest sum of scores (Viterbi), as pairs of bytes and id. */
  function bestPath(pieces) {
    const trie = new Trie();
    const scores = new Float32Array(pieces.length);
    let lowest = 3.4028234663852886e38;
    for (const [id, { bytes, score, type }] of pieces.entries()) {
      if (type === NORMAL || type === USER_DEFINED) trie.add(bytes, id);
      if (type === NORMAL) lowest = Math.min(lowest, score);
      scores[id] = type === USER_DEFINED ? 0.1 * (bytes.length - 1) : score;
    }
    scores[UNK] = lowest - 10;

    return (bytes) => {
      // Of the best path to each position: its score, its last id and where that starts.
      const totals = new Float32Array(bytes.length + 1);
      const ids = new Int32Array(bytes.length + 1);
      const starts = new Int32Array(bytes.length + 1).fill(-1);
      let furthest = 0;
      for (let start = 0, length; start < bytes.length; start += length) {
        // C++ counts from zero again before the sums of long texts lose their precision.
        const total = totals[start];
        if (Math.abs(total) > 100_000) {
          for (let i = start; i <= furthest; i++) if (starts[i] >= 0) totals[i] -= total;
        }
        const offer = (end, id) => {
          const score = Math.fround(totals[start] + scores[id]);
          if (starts[end] >= 0 && score <= totals[end]) return;
          [totals[end], ids[end], starts[end]] = [score, id, start];
          furthest = Math.max(furthest, end);
        };
        length = characterLength(bytes, start);
        let known = false;
        trie.match(bytes, start, (end, id) => {
          known ||= end === start + length;
          offer(end, id);
        });
        if (!known) offer(start + length, UNK);
      }
      const segments = [];
      for (let end = bytes.length; end > 0; end = starts[end]) {
        segments.push([bytes.slice(starts[end], end), ids[end]]);
      }
      return segments.reverse();
    };
  }

  /** BPE: merges the neighbours with the highest score, the leftmost first, while there are any. */
  function bytePairs(pieces, userDefined) {
    const ids = idsOf(pieces);
    const isUnused = (id) => pieces[id].type === UNUSED;
    const later = (a, b) => a.score - b.score || b.left.start - a.left.start;

    return (bytes) => {
      const merges = new Heap(later);
      const parts = new Map(); // Of unused pieces, which are only intermediate merges.
      const propose = (left, right) => {
        if (!right || left.frozen || right.frozen) return;
        const merged = left.bytes + right.bytes;
        const id = ids.get(merged);
        if (id === undefined) return;
        merges.push({ left, right, merged, score: pieces[id].score });
        if (isUnused(id)) parts.set(merged, [left.bytes, right.bytes]);
      };
      const first = { frozen: true, next: null };
      for (let start = 0, last = first; start < bytes.length; start += last.bytes.length) {
        const frozen = userDefined.longest(bytes, start);
        const symbol = bytes.slice(start, start + (frozen || characterLength(bytes, start)));
        last.next = { bytes: symbol, start, frozen, previous: last, next: null };
        last = last.next;
      }
      for (let symbol = first.next; symbol; symbol = symbol.next) propose(symbol, symbol.next);
      while (merges.size > 0) {
        const { left, right, merged } = merges.pop();
        // Out of date if one of the two has been merged with its other neighbour.
        if (!left.bytes || !right.bytes || left.bytes + right.bytes !== merged) continue;
        left.bytes = merged;
        left.next = right.next;
        if (right.next) right.next.previous = left;
        right.bytes = "";
        propose(left.previous, left);
        propose(left, left.next);
      }
      const resolved = (symbol) => {
        const id = ids.get(symbol) ?? UNK;
        if (!isUnused(id)) return [[symbol, id]];
        return parts.get(symbol)?.flatMap(resolved) ?? [[symbol, UNK]];
      };
      const segments = [];
      for (let symbol = first.next; symbol; symbol = symbol.next) {
        segments.push(...resolved(symbol.bytes));
      }
      return segments;
    };
  }

  /** The ids of the pieces that text may contain. */
  function idsOf(pieces) {
    const ids = new Map();
    for (const [id, { bytes, type }] of pieces.entries()) {
      if (type === NORMAL || type === USER_DEFINED || type === UNUSED) ids.set(bytes, id);
    }
    return ids;
  }

  /** Characters, and whole user-defined pieces. */
  function characters(pieces, userDefined) {
    const ids = idsOf(pieces);
    return (bytes) => {
      const segments = [];
      for (let start = 0; start < bytes.length; start += segments.at(-1)[0].length) {
        const length = userDefined.longest(bytes, start) || characterLength(bytes, start);
        const segment = bytes.slice(start, start + length);
        segments.push([segment, ids.get(segment) ?? UNK]);
      }
      return segments;
    };
  }

  /** Words, each with the space before it. */
  function words(pieces) {
    const ids = idsOf(pieces);
    return (bytes) => {
      const [first, ...others] = bytes.split(SPACE);
      const segments = [...(first ? [first] : []), ...others.map((word) => SPACE + word)];
      return segments.map((segment) => [segment, ids.get(segment) ?? UNK]);
    };
  }

  const SEGMENTATIONS = { unigram: bestPath, bpe: bytePairs, word: words, char: characters };

  globalThis.SentencePiece = SentencePiece;
})();
