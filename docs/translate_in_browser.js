// Runs the signatures of a `.tflite` file in a browser, with LiteRT.js (@litertjs/core).
//
//     await loadRuntime("/litert/wasm/");
//     const model = await loadAndCompile("/demo.tflite", {accelerator: "wasm"});
//     const [best] = await beamSearch(model, sourceIds, metadata);
//
// `sourceIds` are those of SentencePiece with </s> behind them; `metadata` is the file's own.

import {Tensor, loadLiteRt} from "@litertjs/core";

const PAD = 0, BOS = 1, EOS = 2;
const ADVICE = "Are the ids those of the file's source vocabulary?";
const errors = [];
let loading = null;
let lastRun = Promise.resolve();

// Loads LiteRT.js, in a page or a classic worker, from its folder `wasm`; a second call waits for
// the first. Reads its log: LiteRT.js logs a failed run and does not throw.
export function loadRuntime(folder) {
  loading ??= load(folder.replace(/\/*$/, "/")).catch((error) => {
    loading = null;
    const reason = error.message ?? "its script was not loaded";
    const advice = "The folder must have the files of @litertjs/core/wasm.";
    throw new Error(`LiteRT.js cannot be loaded from ${folder} (${reason}). ${advice}`);
  });
  return loading;
}

async function load(folder) {
  globalThis.Module = {
    locateFile: (name) => folder + name,
    printErr: (line) => (line.startsWith("ERROR") ? errors.push(line) : console.debug(line)),
  };
  await loadLiteRt(folder);
}

// Runs one signature: plain arrays in and out, by name. One run at a time, as the log does not say
// which has failed.
function run(...task) {
  const done = lastRun.then(() => runAlone(...task));
  lastRun = done.catch(() => {});
  return done;
}

// LiteRT.js frees no tensor by itself.
async function runAlone(model, signature, inputs) {
  const tensors = {};
  for (const [name, {data, shape}] of Object.entries(inputs)) tensors[name] = new Tensor(data, shape);
  const former = errors.length;
  const outputs = await model.run(signature, tensors);
  const arrays = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    const shape = Array.from(tensor.type.layout.dimensions);
    arrays[name] = {data: (await tensor.data()).slice(), shape};
    tensor.delete();
  }
  Object.values(tensors).forEach((tensor) => tensor.delete());
  if (errors.length > former) throw new Error(`LiteRT.js failed (${errors[former]}). ${ADVICE}`);
  return arrays;
}

function padded(sourceIds, length) {
  if (!sourceIds.every((id) => Number.isInteger(id) && id > PAD) || sourceIds.at(-1) !== EOS) {
    throw new RangeError(`sourceIds must be positive integers that end with 2, got [${sourceIds}]`);
  }
  if (sourceIds.length > length) throw new RangeError(`${sourceIds.length} tokens, limit ${length}`);
  const data = new Int32Array(length).fill(PAD);
  data.set(sourceIds);
  return {source_ids: {data, shape: [1, length]}};
}

// Row `index` of the second axis of a (1, rows, ...) array.
function row({data, shape}, index) {
  const size = data.length / shape[1];
  return data.subarray(index * size, (index + 1) * size);
}

// A failed run returns old memory.
function checked(found, {attention = true}) {
  const {tokens, tokenScores} = found;
  const isWrong = (weights) =>
    !(Math.abs(weights.reduce((sum, each) => sum + each, 0) - (attention ? 1 : 0)) < 1e-2);
  if (!tokens.length || tokens.some((id) => id < EOS) || tokens.slice(0, -1).includes(EOS)
    || tokenScores.some((score) => !(score <= 1e-3)) || found.attention.some(isWrong)) {
    throw new Error(`The result of LiteRT.js is invalid. ${ADVICE}`);
  }
  return found;
}

// Greedy search: {tokens, tokenScores, attention}, with a row of attention weights for each token.
export async function greedySearch(model, sourceIds, metadata) {
  const found = await run(model, "translate", padded(sourceIds, metadata.max_source_length));
  const tokens = Array.from(found.target_ids.data).filter((token) => token !== PAD);
  return checked({
    tokens,
    tokenScores: Array.from(found.token_scores.data.subarray(0, tokens.length)),
    attention: tokens.map((_, place) =>
      Array.from(row(found.attention, place).subarray(0, sourceIds.length))),
  }, metadata);
}

// Beam search: up to `metadata.beam_size` such translations, the best first.
export async function beamSearch(model, sourceIds, metadata) {
  const {beam_size: size, length_penalty: alpha, max_target_length: limit} = metadata;
  if (metadata.coverage_penalty || metadata.diversity_penalty) {
    throw new Error("This beam search has a length penalty only: run translate_beam.");
  }
  const memory = await run(model, "encode", padded(sourceIds, metadata.max_source_length));
  let state = {};
  for (const name of Object.keys(memory).filter((name) => name.startsWith("state_"))) {
    state[name] = gather(memory[name], new Array(size).fill(0));
    delete memory[name];
  }
  const ended = ({tokens}) => tokens.at(-1) === EOS;
  const score = ({tokens, tokenScores}) =>
    tokenScores.reduce((sum, each) => sum + each, 0) / ((5 + tokens.length) / 6) ** alpha;
  let beam = [{tokens: [], tokenScores: [], attention: [], place: 0}];
  const steps = Math.min(limit, 3 * sourceIds.length + 20);
  for (let step = 0; step < steps && !beam.every(ended); step++) {
    const data = new Int32Array(size).fill(PAD);
    beam.forEach(({tokens}, place) => { data[place] = tokens.at(-1) ?? BOS; });
    const inputs = {tokens: {data, shape: [1, size]}, ...state, ...memory};
    const found = await run(model, "decode_step", inputs);
    const continued = beam.flatMap((each, place) => {
      if (ended(each)) return [{...each, place}];
      const scores = row(found.log_probabilities, place);
      const attention = Array.from(row(found.attention, place).subarray(0, sourceIds.length));
      const best = Array.from(scores.keys()).slice(EOS).sort((a, b) => scores[b] - scores[a]);
      return best.slice(0, size).map((token) => ({
        tokens: [...each.tokens, token],
        tokenScores: [...each.tokenScores, scores[token]],
        attention: [...each.attention, attention],
        place,
      }));
    });
    beam = continued.sort((a, b) => score(b) - score(a)).slice(0, size);
    const parents = beam.map(({place}) => place);
    while (parents.length < size) parents.push(0);
    state = Object.fromEntries(Object.keys(state).map((name) => [name, gather(found[name], parents)]));
  }
  return beam.map((each) => checked(each, metadata));
}

// The rows `indices` of the second axis of a (1, rows, units) array.
function gather(array, indices) {
  const data = new Float32Array(indices.length * array.shape[2]);
  indices.forEach((index, place) => data.set(row(array, index), place * array.shape[2]));
  return {data, shape: [1, indices.length, array.shape[2]]};
}
