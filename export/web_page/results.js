"use strict";

/** One sentence with its translation by each model. */
class SentenceResult {
  #element = PageElements.element;
  #columns = new Map();
  #source;

  // `page` is `{models, onWords}`.
  constructor(page) {
    const element = this.#element;
    const {textIn} = PageElements;
    const language = page.models[0].metadata.source_language ?? "";
    this.#source = element("p", {class: "page-source", ...textIn(language)});
    const columns = element("div", {class: "page-columns"});
    for (const model of page.models) {
      const column = new ModelResult(model, page);
      this.#columns.set(model.name, column);
      columns.append(column.root);
    }
    this.root = element("article", {class: "page-sentence"}, this.#source, columns);
  }

  // Shows a sentence with the results so far; `single` if the text has no other.
  show(text, resultOf, {single, words}) {
    // Assigning the same text would cause a layout.
    if (this.#source.textContent !== text) this.#source.textContent = text;
    this.#source.hidden = single;
    for (const [name, column] of this.#columns) column.show(resultOf(name), {single, words});
  }

  // The source with each translation or error, and the language of these.
  get texts() {
    return Array.from(
      this.#columns.values(), ({text, language}) => [this.#source.textContent, text, language]);
  }

  destroy() {
    this.#columns.forEach((column) => column.destroy());
    this.root.remove();
  }
}

/** The translation of a sentence by one model, with its attention. */
class ModelResult {
  static #NOTES = [
    [({source_tokens}) => source_tokens.includes("<unk>"),
      "Some characters of this sentence are not in the model's vocabulary and are not translated."],
    [({source_tokens}) => source_tokens.some(AttentionText.isByte),
      "Some characters of this sentence are not in the model's vocabulary: it reads their bytes."],
    [({complete}) => !complete, "The translation was cut at the model's maximum length."],
  ];
  static #MESSAGES = {
    "too-long": ({message}) =>
      `This sentence is too long for the model (${message}). Shorten it, or put its parts on ` +
      "separate lines.",
    surrogate: () =>
      "This sentence contains half of a character, such as a damaged emoji. Type it again.",
    runtime: ({message}) =>
      `The runtime failed on this sentence (${message}). Change it, or reload the page.`,
  };

  #model;
  #page;
  #parts;
  #view = null;
  #stepView = null;
  #result = null;
  // The translation in the view, where the user may have switched between words and subwords.
  #shown = null;
  #words;
  // Whether the user opened or closed the attention; null selects by the number of sentences.
  #opened = null;

  constructor(model, page) {
    const {element, textIn} = PageElements;
    this.#model = model;
    this.#page = page;
    const language = model.metadata.target_language ?? "";
    const text = element("p", {class: "page-translation", ...textIn(language)});
    const view = element("div", {class: "page-view"});
    view.addEventListener("attention-words", ({detail}) => page.onWords(detail.words));
    view.addEventListener("attention-select", ({detail: {target, words}}) => {
      if (target !== null && !words) this.#stepView?.select(target);
    });
    const attention = element(
      "details", {class: "page-details"}, element("summary", {}, "Attention"), view);
    const steps = element(
      "details", {class: "page-details"}, element("summary", {}, "Step by step"));
    const error = element("p", {class: "page-error"});
    const note = element("p", {class: "page-note"});
    this.#parts = {text, view, attention, steps, error, note};
    for (const part of [attention, steps, error, note]) part.hidden = true;
    const label = `Translation by ${model.name}`;
    this.root = element(
      "div", {class: "page-model-result", role: "group", "aria-label": label}, ...this.#title(),
      text, note, error, attention, steps);
    attention.addEventListener("toggle", () => this.#showView());
    steps.addEventListener("toggle", () => this.#showSteps());
    // Only a click is the user's choice: `toggle` is also fired when the script opens it.
    attention.firstChild.addEventListener("click", () => (this.#opened = !attention.open));
  }

  // The translation or the error.
  get text() {
    const {text, error} = this.#parts;
    return error.hidden ? text.textContent : error.textContent;
  }

  get language() {
    const {text, error} = this.#parts;
    return error.hidden ? text.lang : "en";
  }

  // One of several models is named, with its target language if others have another.
  #title() {
    const {models} = this.#page;
    if (models.length < 2) return [];
    const languages = models.map(({metadata}) => metadata.target_language);
    const language = PageElements.languageName(this.#model.metadata.target_language);
    const differs = new Set(languages).size > 1 && language;
    const title = differs ? `${this.#model.name} \u2192 ${language}` : this.#model.name;
    return [PageElements.element("h2", {class: "page-model"}, title)];
  }

  show(result, {single, words}) {
    this.root.classList.toggle("page-waiting", !result);
    if (!result) return;
    const changed = result !== this.#result || words !== this.#words;
    this.#result = result;
    this.#words = words;
    this.#parts.attention.open = this.#opened ?? single;
    if (changed) this.#update(result);
  }

  #update({translation, error: failure}) {
    const {text, error, note, attention, steps} = this.#parts;
    error.textContent = failure ? ModelResult.#MESSAGES[failure.kind](failure) : "";
    error.hidden = !failure;
    text.textContent = translation?.translation ?? "";
    text.hidden = attention.hidden = !translation;
    const notes = translation ? ModelResult.#NOTES.filter(([applies]) => applies(translation)) : [];
    note.textContent = notes.map(([, said]) => said).join(" ");
    note.hidden = !notes.length;
    steps.hidden = !translation?.steps?.length;
    this.#showView();
    this.#showSteps();
  }

  get #languages() {
    const {source_language, target_language} = this.#model.metadata;
    return {sourceLanguage: source_language ?? "", targetLanguage: target_language ?? ""};
  }

  // The view is created when it is opened.
  #showView() {
    const translation = this.#result?.translation;
    if (!translation || !this.#parts.attention.open) return;
    this.#view ??= new AttentionView(this.#parts.view, this.#languages);
    if (this.#shown === translation && [null, this.#view.words].includes(this.#words)) return;
    this.#shown = translation;
    this.#view.show(translation, this.#words === null ? {} : {words: this.#words});
  }

  #showSteps() {
    const {steps} = this.#parts;
    const translation = this.#result?.translation;
    if (!translation?.steps?.length || !steps.open) return;
    if (!this.#stepView) {
      const container = PageElements.element("div");
      steps.append(container);
      this.#stepView = new StepView(container, this.#languages);
    }
    this.#stepView.show(translation);
  }

  destroy() {
    this.#view?.destroy();
    this.#stepView?.destroy();
  }
}
