"use strict";

/** Tokens as text, and attention between words: the same as in the Python package. */
globalThis.AttentionText = (() => {
  // SentencePiece's symbol for a space, and the end of a sentence.
  const SPACE = "\u2581";
  const END = "</s>";
  const BYTE = /^<0x[0-9A-F]{2}>$/;
  // Control symbols, such as `</s>` and `<unk>`.
  const SYMBOL = /^<.+>$/;
  const CONTROL = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

  // For screen readers, the name of a word includes its strongest links: maximum number and
  // minimum weight.
  const [MOST_SAID, LEAST_SAID] = [3, 0.1];

  const bytesOf = (pieces) => Uint8Array.from(pieces, (piece) => parseInt(piece.slice(3, 5), 16));

  /** The index of each token's word, -1 for `</s>`. */
  function wordOfTokens(tokens) {
    const words = [];
    let word = -1;
    let starts = true;
    for (const token of tokens) {
      starts ||= token.startsWith(SPACE);
      if (token !== END && token.replaceAll(SPACE, "")) {
        word += starts ? 1 : 0;
        // A space at the end of a token ends its word.
        starts = token.endsWith(SPACE);
        words.push(word);
      } else {
        words.push(token === END ? -1 : word + 1);
      }
    }
    return words.map((each) => (each <= word ? each : -1));
  }

  /** Attention of words: summed over a source word's tokens, averaged over a target word's. */
  function foldAttention(attention, sourceTokens, targetTokens) {
    const [fromWords, toWords] = [targetTokens, sourceTokens].map(wordOfTokens);
    const columns = Math.max(-1, ...toWords) + 1;
    const sums = Array.from({length: Math.max(-1, ...fromWords) + 1}, () =>
      new Array(columns).fill(0),
    );
    const counts = sums.map(() => 0);
    fromWords.forEach((word, i) => {
      if (word < 0) return;
      counts[word] += 1;
      toWords.forEach((column, j) => {
        if (column >= 0) sums[word][column] += attention[i][j];
      });
    });
    return sums.map((row, word) => row.map((weight) => weight / counts[word]));
  }

  /** Whether a side is one "word" of many tokens, as in scripts without spaces. */
  function hasNoSpaces(tokens) {
    return tokens.length > 4 && Math.max(...wordOfTokens(tokens)) < 1;
  }

  /** The text of SentencePiece pieces. */
  function spelled(pieces) {
    const encoder = new TextEncoder();
    const bytes = pieces.filter((piece) => piece !== END).flatMap((piece) => [
      ...(BYTE.test(piece) ? bytesOf([piece]) : encoder.encode(piece)),
    ]);
    const text = new TextDecoder("utf-8", {ignoreBOM: true}).decode(Uint8Array.from(bytes));
    return text.replaceAll(SPACE, " ").replace(/^ /, "");
  }

  /** The labels of tokens: "_Haus"; byte pieces as parts of their character, "日 1/3". */
  function tokenTexts(pieces) {
    const texts = [];
    while (texts.length < pieces.length) {
      const start = texts.length;
      let end = start;
      while (end < pieces.length && BYTE.test(pieces[end])) end++;
      texts.push(...(end > start ? byteTexts(pieces.slice(start, end)) : [pieces[start]]));
    }
    return texts.map((text) => text.replaceAll(SPACE, "_"));
  }

  /** The labels of consecutive byte pieces. */
  function byteTexts(pieces) {
    const bytes = bytesOf(pieces);
    const decoder = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true});
    const texts = [];
    while (texts.length < bytes.length) {
      const start = texts.length;
      const first = bytes[start];
      const length = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
      let character = null;
      try {
        character = decoder.decode(bytes.subarray(start, start + length));
      } catch {
        // No UTF-8: the piece is its own label.
      }
      if (character === null) {
        texts.push(pieces[start]);
      } else if (CONTROL.test(character)) {
        texts.push(...pieces.slice(start, start + length));
      } else {
        for (let part = 1; part <= length; part++) {
          texts.push(length === 1 ? character : `${character} ${part}/${length}`);
        }
      }
    }
    return texts;
  }

  const splitWords = (text) => text.replaceAll(SPACE, " ").split(" ").filter(Boolean);

  /** One side's words. Spelled as in `text` if that has as many, for instance with copied words. */
  function wordUnits(tokens, text) {
    const pieces = [];
    wordOfTokens(tokens).forEach((word, i) => {
      if (word >= 0) (pieces[word] ??= []).push(tokens[i]);
    });
    const given = splitWords(text);
    return pieces.map((group, i) => {
      const word = given.length === pieces.length ? given[i] : spelled(group).trim();
      return {text: word, label: word, spaced: i > 0};
    });
  }

  function tokenUnits(tokens) {
    return tokenTexts(tokens).map((label, i) => {
      const text = tokens[i].startsWith(SPACE) ? label.slice(1) : label;
      const symbol = SYMBOL.test(label);
      return {text: text || "\u2423", label, spaced: i > 0 && label !== text, symbol};
    });
  }

  /**
   * What is shown: each unit (word or token) of both sides as its text, its label in the heat map,
   * whether a space precedes it and whether it is a symbol; the probability of each target unit;
   * and the weights, `(target units, source units)`.
   */
  function prepare(translation, words) {
    const {source_tokens: sources, target_tokens: targets, attention} = translation;
    const scores = translation.token_scores;
    if (!words) {
      return {
        sources: tokenUnits(sources),
        targets: tokenUnits(targets),
        probabilities: scores.map(Math.exp),
        weights: attention,
      };
    }
    const sums = [];
    wordOfTokens(targets).forEach((word, i) => {
      if (word >= 0) sums[word] = (sums[word] ?? 0) + scores[i];
    });
    return {
      sources: wordUnits(sources, translation.source),
      targets: wordUnits(targets, translation.translation),
      probabilities: sums.map(Math.exp),
      weights: foldAttention(attention, sources, targets),
    };
  }

  /** The largest of some weights with the texts of their units: "einundvierzig 0.93". */
  function strongest(weights, units, spell) {
    const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a]);
    return order
      .filter((index, rank) => rank === 0 || weights[index] >= LEAST_SAID)
      .slice(0, MOST_SAID)
      .filter((index) => weights[index] > 0)
      .map((index) => `${spell(units[index].text)} ${weights[index].toFixed(2)}`)
      .join(", ");
  }

  /** The scores of a translation: "score −0.12", "chrF 61.3". */
  function scoresOf({score, chrf, bleu, complete}) {
    const named = {score, chrF: chrf, BLEU: bleu};
    const texts = Object.entries(named)
      .filter(([, value]) => Number.isFinite(value))
      .map(([name, value]) => `${name} ${PageElements.decimal(value, name === "score" ? 2 : 1)}`);
    return complete === false ? [...texts, "cut at the maximum length"] : texts;
  }

  const isByte = (piece) => BYTE.test(piece);

  return {
    wordOfTokens, foldAttention, hasNoSpaces, isByte, spelled, tokenTexts, prepare, strongest,
    scoresOf,
  };
})();
