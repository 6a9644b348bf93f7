"use strict";

// Splits what was typed in into sentences to translate.
class Sentences {
  // One for each line that has text.
  static ofLines(text) {
    return text.split(/\r\n|\r|\n|\u2028|\u2029/).filter((line) => line.trim());
  }

  // For a line that is too long for a model.
  static ofLine(line, language) {
    if (!globalThis.Intl?.Segmenter) return line.split(/(?<=[.!?…。！？])\s*(?=\S)/u);
    const segmenter = new Intl.Segmenter(Sentences.locale(language), {granularity: "sentence"});
    const parts = Array.from(segmenter.segment(line), ({segment}) => segment.trim());
    return parts.filter(Boolean);
  }

  // A model may name its language in any way; `undefined` is the browser's.
  static locale(language) {
    try {
      return language ? Intl.getCanonicalLocales(language)[0] : undefined;
    } catch {
      return undefined;
    }
  }

  // "German" for "de".
  static languageName(language) {
    const locale = Sentences.locale(language);
    if (!locale) return "";
    try {
      return new Intl.DisplayNames(["en"], {type: "language"}).of(locale) ?? "";
    } catch {
      return "";
    }
  }
}
