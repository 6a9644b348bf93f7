"use strict";

// Splits text into sentences. Runs in the page and in the worker.
class Sentences {
  // As in keras_attn_nmt/text/blank.py: Python's white space, and invisible characters.
  static #BLANK = /^[\s\u001c-\u001f\u0085\u00ad\u200b\u2060\ufeff\p{Bidi_Control}]*$/u;
  static #LINE_END = /\r\n|\r|\n|\u2028|\u2029/;
  // For browsers without Intl.Segmenter. "3.50" is not split, "24. Dezember" is.
  static #SENTENCE_END = /(?<=[.!?…])\s+|(?<=[。！？])\s*(?=\S)/u;

  static isBlank(text) {
    return Sentences.#BLANK.test(text);
  }

  // The lines of a text that are not blank.
  static ofText(text) {
    return text.split(Sentences.#LINE_END).filter((line) => !Sentences.isBlank(line));
  }

  // The sentences of a line.
  static ofLine(line, language) {
    if (!globalThis.Intl?.Segmenter) {
      return line.split(Sentences.#SENTENCE_END).filter((part) => !Sentences.isBlank(part));
    }
    const segmenter = new Intl.Segmenter(Sentences.locale(language), {granularity: "sentence"});
    const parts = Array.from(segmenter.segment(line), ({segment}) => segment.trim());
    return parts.filter((part) => !Sentences.isBlank(part));
  }

  // A valid locale; `undefined`, the browser's default, for other names of languages.
  static locale(language) {
    try {
      return language ? Intl.getCanonicalLocales(language)[0] : undefined;
    } catch {
      return undefined;
    }
  }
}

/** The lines of the text field. Lines that are too long for a model are split into sentences. */
class TypedLines {
  // Whether every line is split.
  bySentence = false;
  #lines = [];
  // The sentences of each line.
  #sentences = new Map();
  // Lines of several sentences that are too long.
  #long = new Set();

  // A line that the user continues to edit stays split, and not another one in its place.
  read(text, language) {
    const lines = Sentences.ofText(text);
    const edited = lines.filter((line, index) => {
      const former = this.#lines[index];
      return this.#long.has(line)
        || (this.#long.has(former) && TypedLines.#isEdited(former, line));
    });
    const sentencesOf = (line) => this.#sentences.get(line) ?? Sentences.ofLine(line, language);
    this.#sentences = new Map(lines.map((line) => [line, sentencesOf(line)]));
    this.#lines = lines;
    this.#long = new Set();
    this.split(edited);
  }

  // Whether the same beginning and end are at least half of both lines.
  static #isEdited(former, line) {
    const [short, long] = [former, line].sort((a, b) => a.length - b.length);
    let start = 0;
    while (start < short.length && short[start] === long[start]) start += 1;
    let end = 0;
    while (start + end < short.length && short.at(-1 - end) === long.at(-1 - end)) end += 1;
    return 2 * (start + end) >= long.length;
  }

  // Splits lines that are too long; returns whether there are more sentences than before.
  split(lines) {
    const former = this.#long.size;
    for (const line of lines) if (this.#hasSeveral(line)) this.#long.add(line);
    return this.#long.size > former;
  }

  #hasSeveral(line) {
    return this.#sentences.get(line).length > 1;
  }

  #isSplit(line) {
    return this.#long.has(line) || (this.bySentence && this.#hasSeveral(line));
  }

  // Whether `bySentence` changes anything.
  get mayBeSplit() {
    return this.#lines.some((line) => this.#hasSeveral(line) && !this.#long.has(line));
  }

  // Lines that are one sentence so far.
  get whole() {
    return this.#lines.filter((line) => !this.#isSplit(line));
  }

  get sentences() {
    return this.#lines.flatMap((line) => (
      this.#isSplit(line) ? this.#sentences.get(line) : [line]));
  }
}
