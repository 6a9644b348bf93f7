"use strict";

/** The page: sends the typed text to the worker, and shows its translations. */
class Page {
  static DEBOUNCE_MS = 150;
  // Screen readers announce translations after a pause in typing.
  static QUIET_MS = 900;
  // More translations at once are only counted.
  static MOST_ANNOUNCED = 3;

  #parts = Object.fromEntries(
    Array.from(document.querySelectorAll("[id]"), (each) => [each.id, each]));
  #models = [];
  #size = "";
  #translations = null;
  #lines = new TypedLines();
  #results = [];
  // Words or subwords; null selects by translation.
  #words = null;
  #announced = new Set();
  #timers = {};

  async start() {
    try {
      await this.#load();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #load() {
    Page.#checkBrowser();
    this.#parts.progress.hidden = false;
    this.#say("Loading the models and the runtime \u2026");
    const page = JSON.parse(await Resources.text(document.body.dataset.models));
    this.#models = page.models;
    this.#describe(page.examples);
    this.#listen();
    const [message, buffers] = await this.#fetched(page);
    const url = await Resources.scriptUrl(...page.worker);
    const translations = new Translations(url, {
      onResult: ({milliseconds}) => this.#received(milliseconds),
      onFailure: (error) => this.#fail(error),
    });
    await translations.load(message, buffers).finally(() => URL.revokeObjectURL(url));
    this.#translations = translations;
    this.#say("");
    this.#parts.progress.hidden = true;
    this.#update();
  }

  static #checkBrowser() {
    if (!globalThis.WebAssembly) throw new Error("This browser has no WebAssembly.");
    if (!globalThis.DecompressionStream && Resources.embedded) {
      throw new Error("This browser is too old: it has no DecompressionStream.");
    }
    if (location.protocol === "file:" && !Resources.embedded) {
      throw new Error(
        "It must come from a web server, for example 'python3 -m http.server' in this folder. " +
        "A page that was exported as a single file runs without one.");
    }
  }

  // The `load` message of the worker, and the buffers to transfer.
  async #fetched({models, runtime, bytes: total}) {
    let loaded = 0;
    const read = async (name) => {
      const content = await Resources.bytes(name, (length) => {
        loaded += length;
        this.#parts.progress.value = Math.min(loaded / total, 1);
      });
      return content.buffer;
    };
    const complete = async (model) => {
      const [tflite, sourceVocabulary, targetVocabulary] = await Promise.all(
        [model.tflite, model.sourceVocabulary, model.targetVocabulary].map(read));
      const {name, metadata} = model;
      return {name, metadata, tflite, sourceVocabulary, targetVocabulary};
    };
    const [wasm, ...given] = await Promise.all([read(runtime), ...models.map(complete)]);
    return [{wasm, models: given}, [wasm, ...given.map(({tflite}) => tflite)]];
  }

  #describe(examples) {
    const {title, label, text, facts} = this.#parts;
    const names = (side) => [...new Set(this.#models.map(({metadata}) => metadata[side]))]
      .map(PageElements.languageName).filter(Boolean).join(", ");
    const [from, to] = [names("source_language"), names("target_language")];
    if (from && to) title.textContent = document.title = `${from} \u2192 ${to}`;
    if (from) label.textContent = from;
    text.lang = this.#models[0].metadata.source_language ?? "";
    text.dir = PageElements.textIn(text.lang).dir;
    document.body.classList.toggle("page-side-by-side", this.#models.length > 1);
    const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
    const size = ({name, bytes}) => `${PageElements.isolated(name)}, ${megabytes(bytes)}`;
    this.#size = this.#models.map(size).join("; ");
    facts.textContent = this.#facts();
    this.#addExamples(examples);
  }

  #facts(milliseconds) {
    const took = milliseconds === undefined ? "" : ` \u00b7 ${milliseconds.toFixed(0)} ms`;
    return `${this.#size}${took} \u00b7 runs offline in this page`;
  }

  #addExamples(sentences) {
    const {examples, text} = this.#parts;
    examples.hidden = !sentences.length;
    for (const sentence of sentences) {
      const attributes = {type: "button", ...PageElements.textIn(text.lang)};
      const button = PageElements.element("button", attributes, sentence);
      button.addEventListener("click", () => this.#replaceText(sentence));
      examples.append(button);
    }
  }

  // As typed, so that undo brings the former text back. Focus stays where it is.
  #replaceText(sentence) {
    const {text} = this.#parts;
    const focused = document.activeElement;
    text.focus({preventScroll: true});
    text.select();
    if (!document.execCommand("insertText", false, sentence)) text.value = sentence;
    text.blur();
    focused.focus({preventScroll: true});
    this.#update();
  }

  #listen() {
    this.#parts.text.addEventListener("input", () => {
      this.#parts.results.ariaBusy = "true";
      clearTimeout(this.#timers.input);
      this.#timers.input = setTimeout(() => this.#update(), Page.DEBOUNCE_MS);
    });
    this.#parts["by-sentence-box"].addEventListener("change", ({target}) => {
      this.#lines.bySentence = target.checked;
      this.#update();
    });
    this.#parts.licence.addEventListener("toggle", () => this.#showLicence());
  }

  async #showLicence() {
    const {licence, "licence-text": text} = this.#parts;
    if (!licence.open) return;
    try {
      const texts = await Promise.all(["NOTICE", "LICENSE"].map((name) => Resources.text(name)));
      text.textContent = texts.join("\n\n");
    } catch (error) {
      text.textContent = `${error.message} Open the licence again to retry.`;
    }
  }

  // The text has changed.
  #update() {
    if (!this.#translations) return;
    this.#lines.read(this.#parts.text.value, this.#parts.text.lang);
    this.#request();
  }

  #request() {
    this.#translations.want(
      this.#lines.sentences.flatMap((text) => this.#models.map(({name}) => ({model: name, text}))));
    this.#show();
  }

  // Many results may come per frame, but the page changes only once.
  #received(milliseconds) {
    if (milliseconds !== undefined) this.#parts.facts.textContent = this.#facts(milliseconds);
    this.#timers.frame ??= requestAnimationFrame(() => {
      this.#timers.frame = null;
      this.#refresh();
    });
  }

  #refresh() {
    if (!this.#translations) return;
    const isTooLong = (text) => this.#models.some(
      ({name}) => this.#translations.result(name, text)?.error?.kind === "too-long");
    const tooLong = this.#lines.whole.filter(isTooLong);
    if (this.#lines.split(tooLong)) this.#request();
    else this.#show();
  }

  #show() {
    const {sentences} = this.#lines;
    const {"by-sentence": option, "by-sentence-box": box} = this.#parts;
    // The focus stays where it is.
    option.hidden = !this.#lines.mayBeSplit && document.activeElement !== box;
    this.#resize(sentences.length);
    const isKnown = (text) => this.#models.every(({name}) => this.#translations.result(name, text));
    this.#parts.results.ariaBusy = String(!sentences.every(isKnown));
    const options = {single: sentences.length === 1, words: this.#words};
    sentences.forEach((text, index) => {
      const resultOf = (model) => this.#translations.result(model, text);
      this.#results[index].show(text, resultOf, options);
    });
    this.#announce();
  }

  // Adds or removes results at the end.
  #resize(count) {
    const page = {
      models: this.#models,
      onWords: (words) => {
        this.#words = words;
        this.#refresh();
      },
    };
    while (this.#results.length > count) this.#results.pop().destroy();
    while (this.#results.length < count) {
      const result = new SentenceResult(page);
      this.#results.push(result);
      this.#parts.results.append(result.root);
    }
  }

  // Tells a screen reader which translations are new, once all are known.
  #announce() {
    const {results: section, announcement} = this.#parts;
    clearTimeout(this.#timers.announcement);
    this.#timers.announcement = setTimeout(() => {
      if (section.ariaBusy === "true") return;
      const results = this.#results.flatMap((each) => each.texts);
      const keyOf = (texts) => texts.join("\n");
      const changed = results.filter((texts) => !this.#announced.has(keyOf(texts)));
      this.#announced = new Set(results.map(keyOf));
      if (!changed.length) return;
      const spoken = ([, text, lang]) => PageElements.element("p", {lang, translate: "no"}, text);
      announcement.replaceChildren(...changed.length > Page.MOST_ANNOUNCED
        ? [`${changed.length} translations`] : changed.map(spoken));
    }, Page.QUIET_MS);
  }

  #say(message) {
    this.#parts.status.textContent = message;
    this.#parts.status.hidden = !message;
  }

  #fail(error) {
    this.#translations?.stop();
    this.#translations = null;
    clearTimeout(this.#timers.announcement);
    const {status, progress, text, "by-sentence-box": box, examples, results} = this.#parts;
    this.#say(`This page cannot translate here. ${error?.message ?? error}`);
    status.classList.add("page-error");
    progress.hidden = true;
    results.ariaBusy = "false";
    for (const control of [text, box, ...examples.children]) control.disabled = true;
  }
}

new Page().start();
