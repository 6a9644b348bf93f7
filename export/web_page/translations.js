"use strict";

/** The worker with its results. It translates one text at a time, and only requested ones. */
class Translations {
  // Results that are kept although the last request does not name them.
  static KEPT = 500;
  // A browser tells the page nothing of a worker that it blocks.
  static #BLOCKED = "The worker did not start. A Content-Security-Policy must allow it by " +
    "worker-src blob:.";

  #worker;
  #results = new Map();
  // Keys that the worker has yet to translate, the next one last.
  #waiting = [];
  #running = null;
  #count = 0;
  #onResult;
  #onFailure;

  /**
   * `onResult(result)` is called for each result, and `onFailure(error)` if the worker fails after
   * loading.
   */
  constructor(workerUrl, {onResult, onFailure}) {
    this.#worker = new Worker(workerUrl);
    this.#onResult = onResult;
    this.#onFailure = onFailure;
  }

  // Resolves once every model is loaded.
  load(message, buffers) {
    return new Promise((resolve, reject) => {
      let fail = reject;
      const listeners = {
        error: (event) => {
          event.preventDefault();
          const unknown = fail === reject ? Translations.#BLOCKED : "The worker failed.";
          fail(new Error(event.message || unknown));
        },
        messageerror: () => fail(new Error("A message of the worker cannot be read.")),
        message: ({data}) => {
          if (data.type === "ready") {
            fail = this.#onFailure;
            resolve();
          } else if (data.kind === "load") {
            fail(new Error(data.message));
          } else {
            this.#received(data);
          }
        },
      };
      for (const [name, listener] of Object.entries(listeners)) {
        this.#worker.addEventListener(name, listener);
      }
      this.#worker.postMessage({type: "load", ...message}, buffers);
    });
  }

  stop() {
    this.#worker.terminate();
  }

  static #key(model, text) {
    return `${model}\n${text}`;
  }

  /** `{translation, milliseconds}`, `{error: {kind, message}}`, or undefined if not yet known. */
  result(model, text) {
    return this.#results.get(Translations.#key(model, text));
  }

  // Requests the translations of `[{model, text}]` in this order, and drops earlier requests.
  want(wanted) {
    const keyed = ({model, text}) => [Translations.#key(model, text), {model, text}];
    const requests = new Map(wanted.map(keyed));
    this.#forget(requests);
    this.#waiting = Array.from(requests).filter(([key]) => !this.#results.has(key)).reverse();
    this.#next();
  }

  // Failures of the runtime may pass; of other results, the oldest go that are not requested.
  #forget(requests) {
    let surplus = this.#results.size - Translations.KEPT;
    for (const [key, {error}] of this.#results) {
      const old = surplus > 0 && !requests.has(key);
      if (!old && error?.kind !== "runtime") continue;
      this.#results.delete(key);
      surplus -= 1;
    }
  }

  #next() {
    while (!this.#running && this.#waiting.length) {
      const [key, request] = this.#waiting.pop();
      if (!this.#results.has(key)) this.#translate(key, request);
    }
  }

  #translate(key, request) {
    this.#running = {key, id: (this.#count += 1)};
    this.#worker.postMessage({type: "translate", id: this.#running.id, ...request});
  }

  #received({id, type, kind, message, translation, milliseconds}) {
    if (id !== this.#running?.id) return;
    const result = type === "error" ? {error: {kind, message}} : {translation, milliseconds};
    this.#results.set(this.#running.key, result);
    this.#running = null;
    this.#next();
    this.#onResult(result);
  }
}
