"use strict";

/** A test set: its sentences can be sorted, searched and opened to see their attention. */
(() => {
  const {decimal, element, pageData, textIn} = PageElements;
  // Sentences shown at once.
  const PART = 100;
  // As `INVISIBLE` in text/blank.py.
  const INVISIBLE = /[\u00ad\u200b\u2060\ufeff\p{Bidi_Control}]/gu;
  // Scripts without spaces between words.
  const SPACELESS =
    /[\p{sc=Hani}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}]/u;
  const segmenter = Intl.Segmenter && new Intl.Segmenter("und", {granularity: "word"});
  const data = pageData();
  const sentences = data.sentences.map((sentence, index) => ({
    ...sentence,
    index,
    words: sentence.source.split(/\s+/).filter(Boolean).length,
    searched: comparable(
      [sentence.source, sentence.translation, sentence.reference].join("\n"),
    ),
  }));
  const KEYS = {
    chrF: ({chrf}) => chrf,
    BLEU: ({bleu}) => bleu,
    "source length": ({words}) => words,
    score: ({score}) => score,
    "place in the test set": ({index}) => index,
  };
  const state = {key: "chrF", descending: false, search: "", shown: PART};
  // Of the opened sentences in the list.
  const views = [];
  const list = element("ol", {class: "report-list"});
  const count = element("p", {class: "report-found", role: "status"});
  const more = element("button", {type: "button", class: "report-more"}, "Show more");

  /** In lower case, and as scores compare texts: in Unicode NFC, without invisible characters. */
  function comparable(text) {
    return text.normalize("NFC").replace(INVISIBLE, "").toLowerCase();
  }

  /** Words and the white space between them; scripts without spaces as the browser divides them. */
  function wordsOf(text) {
    return text.split(/(\s+)/).flatMap((part) =>
      segmenter && SPACELESS.test(part)
        ? Array.from(segmenter.segment(part), ({segment}) => segment)
        : part,
    );
  }

  function chosen() {
    const order = state.descending ? -1 : 1;
    const key = KEYS[state.key];
    return sentences
      .filter(({searched}) => searched.includes(state.search))
      .sort((a, b) => order * (key(a) - key(b)) || a.index - b.index);
  }

  /** Appends the next part of the list, or with `anew` builds it again. */
  function update(anew) {
    if (anew) {
      state.shown = PART;
      views.splice(0).forEach((view) => view.destroy());
    }
    const found = chosen();
    const from = anew ? 0 : state.shown - PART;
    const rows = found.slice(from, state.shown).map(row);
    if (anew) list.replaceChildren(...rows);
    else list.append(...rows);
    more.hidden = found.length <= state.shown;
    const shown = Math.min(state.shown, found.length);
    count.textContent = state.search
      ? `${found.length} of ${sentences.length} sentences have it`
      : `${shown} of ${found.length} sentences`;
  }

  function row(sentence) {
    const details = element("details", {class: "report-sentence"}, summary(sentence));
    details.addEventListener("toggle", () => open(details, sentence), {once: true});
    return element("li", {}, details);
  }

  /** Views are created on demand: a page may have thousands of sentences. */
  function open(details, {index}) {
    const container = element("div", {class: "report-view"});
    details.append(container);
    const view = new AttentionView(container, {
      sourceLanguage: data.source_language,
      targetLanguage: data.target_language,
    });
    view.show(data.sentences[index]);
    views.push(view);
  }

  function summary({source, translation, reference, chrf, bleu, score, words, complete}) {
    const text = (kind, lang, ...content) =>
      element("span", {class: `report-${kind}`, ...textIn(lang)}, ...content);
    const bar = element("span", {class: "report-bar", "aria-hidden": "true"});
    bar.style.setProperty("--share", chrf / 100);
    const parts = [`BLEU ${bleu.toFixed(1)}`, `score ${decimal(score, 2)}`, `${words} words`];
    if (!complete) parts.push("cut");
    return element(
      "summary",
      {},
      element("span", {class: "report-chrf"}, `chrF ${chrf.toFixed(1)}`, bar),
      text("source", data.source_language, source),
      text("translation", data.target_language, ...compared(translation, reference)),
      text("reference", data.target_language, reference),
      element("span", {class: "report-small"}, parts.join(" \u00b7 ")),
    );
  }

  /** A translation, with its words that are not in the reference marked. */
  function compared(translation, reference) {
    const known = new Set(wordsOf(comparable(reference)));
    if (!translation.trim()) return [element("em", {}, "(empty)")];
    return wordsOf(translation).map((part) => {
      const same = !comparable(part).trim() || known.has(comparable(part));
      return same ? part : element("mark", {}, part);
    });
  }

  function corpusScores() {
    const {scores} = data;
    const shares = [["exact match", `${(100 * scores.exact_match).toFixed(1)}%`]];
    const named = {BLEU: "bleu", "BLEU, lower-cased": "bleu_lowercase", chrF: "chrf"};
    const items = Object.entries(named).map(([name, key]) => [
      name,
      scores[key].score.toFixed(2),
      scores[key].signature,
    ]);
    const speed = [["sentences/s", scores.sentences_per_second.toFixed(0)]];
    const all = [...items, ...shares, ["sentences", scores.sentences], ...speed];
    const terms = all.map(([name, value, signature]) =>
      element(
        "div",
        {title: signature},
        element("dt", {}, name),
        element("dd", {}, String(value)),
      ),
    );
    return element("dl", {class: "report-scores"}, ...terms);
  }

  function settings() {
    const rows = Object.entries(data.settings).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, String(value))),
    );
    const title = element("summary", {}, "Settings and signatures");
    return element("details", {class: "report-settings"}, title, element("dl", {}, ...rows));
  }

  function controls() {
    const keys = element("select", {}, ...Object.keys(KEYS).map((key) => new Option(key)));
    keys.addEventListener("change", () => {
      state.key = keys.value;
      update(true);
    });
    const order = element("select", {}, new Option("lowest first"), new Option("highest first"));
    order.addEventListener("change", () => {
      state.descending = order.selectedIndex === 1;
      update(true);
    });
    const search = element("input", {type: "search", placeholder: "word or phrase"});
    search.addEventListener("input", () => {
      state.search = comparable(search.value);
      update(true);
    });
    const labelled = (text, control) => element("label", {}, element("span", {}, text), control);
    return element(
      "div",
      {class: "report-controls"},
      labelled("Sort by", keys),
      labelled("Order", order),
      labelled("Search", search),
      count,
    );
  }

  more.addEventListener("click", () => {
    state.shown += PART;
    update(false);
  });
  const legend =
    "Source, translation and reference of each sentence. Words that no reference has are " +
    "underlined. Open a sentence to see its attention.";
  const scroll = {class: "report-scroll", tabindex: "0", role: "region", "aria-label": "Chart"};
  const chart = element("div", scroll, ReportChart.chart(data.by_length));
  const heading = element("h2", {}, "BLEU by length");
  document
    .getElementById("page")
    .append(
      element("h1", {}, data.title),
      corpusScores(),
      settings(),
      element("section", {}, heading, chart),
      element(
        "section",
        {},
        element("h2", {}, "Sentences"),
        element("p", {class: "report-small"}, legend),
        controls(),
        list,
        more,
      ),
    );
  update(true);
})();
