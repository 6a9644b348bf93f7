"use strict";

/** One sentence with its translations, one below or beside the other for each model. */
class SentenceResult {
  #element = PageElements.element;
  #columns = new Map();
  #source;

  // `page` is `{models, steps, onWords}`.
  constructor(page) {
    const element = this.#element;
    this.#source = element("p", {class: "page-source", dir: "auto"});
    this.#source.lang = page.models[0].metadata.source_language ?? "";
    const columns = element("div", {class: "page-columns"});
    for (const model of page.models) {
      const column = new ModelResult(model, page);
      this.#columns.set(model.name, column);
      columns.append(column.root);
    }
    this.root = element("article", {class: "page-sentence"}, this.#source, columns);
  }

  // Shows what is known of a sentence; `alone` if there is no other.
  show(text, answers, {alone, words}) {
    this.#source.textContent = text;
    this.#source.hidden = alone;
    for (const [name, column] of this.#columns) column.show(answers(name), {alone, words});
  }

  destroy() {
    this.#columns.forEach((column) => column.destroy());
    this.root.remove();
  }
}

/** The translation of a sentence by one model, with its attention. */
class ModelResult {
  static #MESSAGES = {
    "too-long": ({message}) =>
      `This sentence is too long for the model (${message}). Shorten it, or put its parts on ` +
      "lines of their own.",
    runtime: ({message}) =>
      `The runtime failed on this sentence (${message}). Change it, or reload the page.`,
  };

  #model;
  #page;
  #parts;
  #view = null;
  #stepView = null;
  #answer = null;
  // The translation in the view, which may have changed between words and subwords by itself.
  #shown = null;
  #words;
  #opened = null;

  constructor(model, page) {
    const {element} = PageElements;
    this.#model = model;
    this.#page = page;
    const text = element("p", {class: "page-translation", dir: "auto"});
    text.lang = model.metadata.target_language ?? "";
    const view = element("div", {class: "page-view"});
    view.addEventListener("attention-words", ({detail}) => page.onWords(detail.words, this));
    view.addEventListener("attention-select", ({detail: {target, words}}) => {
      if (target !== null && !words) this.#stepView?.select(target);
    });
    const attention = element(
      "details", {class: "page-details"}, element("summary", {}, "Attention"), view);
    const steps = element(
      "details", {class: "page-details"}, element("summary", {}, "Step by step"));
    this.#parts = {text, view, attention, steps, error: element("p", {class: "page-error"})};
    attention.hidden = steps.hidden = this.#parts.error.hidden = true;
    const title = page.models.length > 1 ? [element("h2", {class: "page-model"}, model.name)] : [];
    this.root = element(
      "section", {class: "page-model-result", "aria-label": `Translation by ${model.name}`},
      ...title, text, this.#parts.error, attention, steps);
    attention.addEventListener("toggle", () => this.#showView());
    steps.addEventListener("toggle", () => this.#showSteps());
    // Only a click is the user's choice; `toggle` comes for ours, too.
    attention.firstChild.addEventListener("click", () => (this.#opened = !attention.open));
  }

  show(answer, {alone, words}) {
    const {text, error, attention, steps} = this.#parts;
    this.root.classList.toggle("page-waiting", !answer);
    if (!answer) return;
    const changed = answer !== this.#answer || words !== this.#words;
    this.#answer = answer;
    this.#words = words;
    attention.open = this.#opened ?? alone;
    if (!changed) return;
    const {translation, error: failure} = answer;
    error.textContent = failure ? ModelResult.#MESSAGES[failure.kind](failure) : "";
    error.hidden = !failure;
    text.textContent = translation?.translation ?? "";
    text.hidden = attention.hidden = !translation;
    steps.hidden = !translation?.steps?.length;
    this.#showView();
    this.#showSteps();
  }

  // A view that nobody sees is not made.
  #showView() {
    const translation = this.#answer?.translation;
    if (!translation || !this.#parts.attention.open) return;
    const {source_language, target_language} = this.#model.metadata;
    this.#view ??= new AttentionView(this.#parts.view, {
      sourceLanguage: source_language ?? "",
      targetLanguage: target_language ?? "",
    });
    if (this.#shown === translation && [null, this.#view.words].includes(this.#words)) return;
    this.#shown = translation;
    this.#view.show(translation, this.#words === null ? {} : {words: this.#words});
  }

  #showSteps() {
    const {steps} = this.#parts;
    const translation = this.#answer?.translation;
    if (!translation?.steps?.length || !steps.open) return;
    if (!this.#stepView) {
      const container = PageElements.element("div");
      steps.append(container);
      this.#stepView = new StepView(container);
    }
    this.#stepView.show(translation);
  }

  destroy() {
    this.#view?.destroy();
    this.#stepView?.destroy();
  }
}
