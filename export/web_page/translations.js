"use strict";

/**
 * The worker, and what it has translated. One text at a time: what is asked for while one types
 * replaces what was, so that nothing is translated that nobody waits for.
 */
class Translations {
  static KEPT = 500;

  #worker;
  #known = new Map();
  #wanted = [];
  #running = null;
  #count = 0;
  #onAnswer;

  // `onAnswer(model, text, answer)`; an answer is `{translation, milliseconds}` or `{error}`.
  constructor(workerUrl, onAnswer) {
    this.#worker = new Worker(workerUrl);
    this.#onAnswer = onAnswer;
  }

  // Resolves to the seconds it took, once every model can translate.
  load(message, buffers) {
    return new Promise((resolve, reject) => {
      this.#worker.addEventListener("error", (event) => {
        event.preventDefault();
        reject(new Error(event.message || "the worker does not start"));
      });
      this.#worker.addEventListener("message", ({data}) => {
        if (data.type === "ready") resolve(data.seconds);
        else if (data.kind === "load") reject(new Error(data.message));
        else this.#answered(data);
      });
      this.#worker.postMessage({type: "load", ...message}, buffers);
    });
  }

  answer(model, text) {
    return this.#known.get(`${model}\n${text}`);
  }

  // Translates `[{model, text}]` in this order, and nothing else from now on.
  want(wanted) {
    this.#wanted = wanted.filter(({model, text}) => !this.answer(model, text));
    this.#next();
  }

  #next() {
    if (this.#running || !this.#wanted.length) return;
    this.#running = {...this.#wanted.shift(), id: (this.#count += 1)};
    if (this.answer(this.#running.model, this.#running.text)) {
      this.#running = null;
      this.#next();
      return;
    }
    this.#worker.postMessage({type: "translate", ...this.#running});
  }

  #answered({id, type, kind, message, translation, milliseconds}) {
    if (id !== this.#running?.id) return;
    const {model, text} = this.#running;
    this.#running = null;
    const answer = type === "error" ? {error: {kind, message}} : {translation, milliseconds};
    this.#known.set(`${model}\n${text}`, answer);
    // The oldest first, as a Map keeps the order.
    if (this.#known.size > Translations.KEPT) this.#known.delete(this.#known.keys().next().value);
    this.#onAnswer(model, text, answer);
    this.#next();
  }
}
