"use strict";

// Translates in a worker: SentencePiece, then the `.tflite` file in LiteRT.js, then SentencePiece.
// The page joins this script with those it needs: see `WORKER` in web.py.

// An error of a kind for which the page has a message.
class TranslationError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

class TranslationModel {
  constructor({metadata, sourceVocabulary, targetVocabulary}, compiled) {
    this.metadata = metadata;
    this.compiled = compiled;
    this.source = new SentencePiece(new Uint8Array(sourceVocabulary));
    this.target = new SentencePiece(new Uint8Array(targetVocabulary));
  }

  static async load(given) {
    const options = {accelerator: "wasm"};
    const compiled = await LiteRT.loadAndCompile(new Uint8Array(given.tflite), options);
    const model = new TranslationModel(given, compiled);
    // The first run is slow, and verifies that the runtime works.
    await model.decoded([Decoding.EOS]);
    return model;
  }

  async translate(text) {
    if (/\p{Surrogate}/u.test(text)) throw new TranslationError("surrogate", "a lone surrogate");
    const source = Sentences.isBlank(text) ? [] : [...this.source.encode(text), Decoding.EOS];
    const limit = this.metadata.max_source_length;
    if (source.length > limit) {
      throw new TranslationError("too-long", `${source.length} tokens, limit ${limit}`);
    }
    const nothing = {tokens: [], tokenScores: [], attention: []};
    return this.described(text, source, source.length ? await this.decoded(source) : nothing);
  }

  async decoded(source) {
    const stepwise = "decode_step" in this.compiled.signatures;
    const search = stepwise ? Decoding.bySteps : Decoding.greedily;
    try {
      const found = await search(this, source);
      Decoding.check(found, {
        sourceLength: source.length,
        vocabularySize: this.target.size,
        attends: this.metadata.attention,
      });
      return found;
    } catch (error) {
      throw new TranslationError("runtime", String(error?.message ?? error));
    }
  }

  // The JSON of `keras-attn-nmt translate --json`.
  described(text, source, {tokens, tokenScores, attention, steps, annotations}) {
    const sum = tokenScores.reduce((total, each) => total + each, 0);
    const [sourceTokens, targetTokens] = [this.source.pieces(source), this.target.pieces(tokens)];
    const translation = {
      source: text,
      translation: this.target.decode(tokens),
      score: rounded(sum / ((5 + tokens.length) / 6) ** this.metadata.length_penalty),
      complete: !source.length || tokens.at(-1) === Decoding.EOS,
      source_tokens: sourceTokens,
      target_tokens: targetTokens,
      token_scores: tokenScores.map(rounded),
      alignment: Decoding.pharaoh(
        AttentionText.foldAttention(attention, sourceTokens, targetTokens)),
      attention: attention.map((row) => row.map(rounded)),
    };
    if (!steps) return translation;
    const named = ({energies, candidates}) => ({
      energies: energies.map(rounded),
      candidates: candidates.map(({id, score}) => (
        {token: this.target.pieces([id])[0], score: rounded(score)})),
    });
    return {...translation, steps: steps.map(named), annotations};
  }
}

const rounded = (value) => Math.round(value * 1e6) / 1e6;
const models = new Map();
const NO_GPU = {
  requestAdapter: async () => ({limits: {}, features: new Set(), requestDevice: async () => null}),
};

async function load({wasm, models: given}) {
  const start = performance.now();
  // LiteRT.js requests a GPU even for models that run on WebAssembly, and warns without one.
  Object.defineProperty(navigator, "gpu", {value: NO_GPU, configurable: true});
  const messages = [];
  // LiteRT.js takes the binary from here instead of a request; its log is not an error.
  self.Module = {
    wasmBinary: new Uint8Array(wasm),
    print: () => {},
    printErr: (message) => messages.push(message),
  };
  try {
    await LiteRT.loadLiteRt("litert_wasm.js");
    for (const each of given) models.set(each.name, await TranslationModel.load(each));
  } catch (error) {
    const last = messages.length ? ` (${messages.at(-1)})` : "";
    throw new TranslationError("load", `${error?.message ?? error}${last}`);
  }
  self.postMessage({type: "ready", seconds: (performance.now() - start) / 1000});
}

async function translate({id, model, text}) {
  const start = performance.now();
  const translation = await models.get(model).translate(text);
  const milliseconds = performance.now() - start;
  self.postMessage({type: "translation", id, model, translation, milliseconds});
}

// One message at a time: a model cannot run twice in parallel.
let done = Promise.resolve();
self.addEventListener("message", ({data}) => {
  const answer = data.type === "load" ? load : translate;
  done = done.then(() => answer(data)).catch((error) => {
    const kind = error?.kind ?? (data.type === "load" ? "load" : "runtime");
    self.postMessage({type: "error", id: data.id, kind, message: String(error?.message ?? error)});
  });
});
