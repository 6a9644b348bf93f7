"use strict";

/** The page: what is typed in goes to the worker, and what comes back is shown. */
class Page {
  static DEBOUNCE_MS = 150;
  // A screen reader waits until one has stopped typing.
  static QUIET_MS = 900;
  static WORKER = [
    "attention_text.js", "sentencepiece.js", "litert.js", "litert_wasm.js", "decoding.js",
    "worker.js",
  ];

  #parts = Object.fromEntries(
    Array.from(document.querySelectorAll("[id]"), (each) => [each.id, each]));
  #models = [];
  #translations;
  #results = [];
  // Words, or subwords; null is what suits a translation.
  #words = null;
  // Lines that were too long for a model, and the sentences they were split into.
  #split = new Map();
  #timers = {};

  async start() {
    try {
      await this.#load();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #load() {
    if (!globalThis.WebAssembly) throw new Error("This browser has no WebAssembly.");
    if (!globalThis.DecompressionStream && Resources.embedded) {
      throw new Error("This browser is too old: it has no DecompressionStream.");
    }
    if (location.protocol === "file:" && !Resources.embedded) {
      throw new Error(
        "It must come from a web server, for example 'python3 -m http.server' in this folder. " +
        "A page that was exported as a single file runs without one.");
    }
    this.#say("Loading the models and the runtime \u2026");
    const {models, steps, examples, bytes} = JSON.parse(await Resources.text("models.json"));
    this.#models = models;
    this.#describe(models, steps, examples);
    this.#listen();
    const [message, buffers] = await this.#fetched(models, bytes);
    this.#translations = new Translations(
      await Resources.scriptUrl(...Page.WORKER), (...answer) => this.#answered(...answer));
    await this.#translations.load(message, buffers);
    this.#say("");
    this.#parts.progress.hidden = true;
    this.#update();
  }

  // The message for the worker, with everything that it needs.
  async #fetched(models, total) {
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
    const [wasm, ...given] = await Promise.all([read("litert.wasm"), ...models.map(complete)]);
    return [{wasm, models: given}, [wasm, ...given.map(({tflite}) => tflite)]];
  }

  #describe(models, steps, examples) {
    const {title, label, text, facts} = this.#parts;
    const {source_language: source, target_language: target} = models[0].metadata;
    const [from, to] = [source, target].map(Sentences.languageName);
    if (from && to) title.textContent = document.title = `${from} \u2192 ${to}`;
    if (from) label.textContent = from;
    text.lang = source ?? "";
    document.body.classList.toggle("page-side-by-side", models.length > 1);
    const size = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
    this.#parts.models = models.map(({name, bytes}) => `${name}, ${size(bytes)}`).join("; ");
    facts.textContent = this.#facts();
    this.#addExamples(examples);
  }

  #facts(milliseconds) {
    const took = milliseconds === undefined ? "" : ` \u00b7 ${milliseconds.toFixed(0)} ms`;
    return `${this.#parts.models}${took} \u00b7 runs offline in this page`;
  }

  #addExamples(sentences) {
    const {examples, text} = this.#parts;
    examples.hidden = !sentences.length;
    for (const sentence of sentences) {
      const button = PageElements.element("button", {type: "button", dir: "auto"}, sentence);
      button.lang = text.lang;
      button.addEventListener("click", () => {
        text.value = sentence;
        this.#update();
      });
      examples.append(button);
    }
  }

  #listen() {
    this.#parts.text.addEventListener("input", () => {
      this.#parts.results.ariaBusy = "true";
      clearTimeout(this.#timers.input);
      this.#timers.input = setTimeout(() => this.#update(), Page.DEBOUNCE_MS);
    });
    this.#parts.licence.addEventListener("toggle", async () => {
      const texts = await Promise.all(["NOTICE", "LICENSE"].map((name) => Resources.text(name)));
      this.#parts["licence-text"].textContent = texts.join("\n\n");
    }, {once: true});
  }

  // The sentences of the text, those that were too long in parts.
  #sentences() {
    const lines = Sentences.ofLines(this.#parts.text.value);
    return lines.flatMap((line) => this.#split.get(line) ?? [line]);
  }

  #update() {
    if (!this.#translations) return;
    const sentences = this.#sentences();
    this.#show(sentences);
    this.#translations.want(
      sentences.flatMap((text) => this.#models.map(({name}) => ({model: name, text}))));
    this.#announce();
  }

  #answered(model, text, answer) {
    if (answer.error?.kind === "too-long" && !this.#split.has(text)) {
      const parts = Sentences.ofLine(text, this.#parts.text.lang);
      if (parts.length > 1) {
        this.#split.set(text, parts);
        this.#update();
        return;
      }
    }
    if (answer.milliseconds !== undefined) {
      this.#parts.facts.textContent = this.#facts(answer.milliseconds);
    }
    this.#show(this.#sentences());
    this.#announce();
  }

  #show(sentences) {
    const page = {
      models: this.#models,
      onWords: (words) => {
        this.#words = words;
        this.#show(this.#sentences());
      },
    };
    while (this.#results.length > sentences.length) this.#results.pop().destroy();
    while (this.#results.length < sentences.length) {
      const result = new SentenceResult(page);
      this.#results.push(result);
      this.#parts.results.append(result.root);
    }
    const alone = sentences.length === 1;
    const known = ({name}, text) => Boolean(this.#translations.answer(name, text));
    const done = sentences.every((text) => this.#models.every((model) => known(model, text)));
    this.#parts.results.ariaBusy = String(!done);
    sentences.forEach((text, index) => {
      const answers = (model) => this.#translations.answer(model, text);
      this.#results[index].show(text, answers, {alone, words: this.#words});
    });
  }

  #announce() {
    clearTimeout(this.#timers.announcement);
    this.#timers.announcement = setTimeout(() => {
      const texts = this.#parts.results.querySelectorAll(
        ".page-translation:not([hidden]), .page-error:not([hidden])");
      const said = Array.from(texts, (each) => each.textContent);
      this.#parts.announcement.textContent = said.join("\n");
    }, Page.QUIET_MS);
  }

  #say(message) {
    this.#parts.status.textContent = message;
    this.#parts.status.hidden = !message;
  }

  #fail(error) {
    this.#say(`This page cannot translate here. ${error?.message ?? error}`);
    this.#parts.status.classList.add("page-error");
    this.#parts.progress.hidden = true;
    this.#parts.text.disabled = true;
  }
}

new Page().start();
