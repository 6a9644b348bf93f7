"use strict";

// Greedy search with a compiled `.tflite` file, and validation of its results. Runs in the worker.
globalThis.Decoding = (() => {
  const PAD = 0, BOS = 1, EOS = 2;
  const CANDIDATES = 5;

  // Runs one signature on named arrays. LiteRT.js does not free tensors: delete them here.
  async function run(compiled, signature, inputs) {
    const tensors = {};
    let outputs = {};
    try {
      for (const [name, {data, shape}] of Object.entries(inputs)) {
        tensors[name] = new LiteRT.Tensor(data, shape);
      }
      outputs = await compiled.run(signature, tensors);
      const arrays = {};
      for (const [name, tensor] of Object.entries(outputs)) {
        const shape = Array.from(tensor.type.layout.dimensions);
        arrays[name] = {data: (await tensor.data()).slice(), shape};
      }
      return arrays;
    } finally {
      [...Object.values(tensors), ...Object.values(outputs)].forEach((tensor) => tensor.delete());
    }
  }

  function padded(source, length) {
    const data = new Int32Array(length).fill(PAD);
    data.set(source);
    return {source_ids: {data, shape: [1, length]}};
  }

  // Row `index` of the second axis of a (1, rows, columns) array, `length` columns of it.
  function row({data, shape}, index, length = shape[2]) {
    return Array.from(data.subarray(index * shape[2], index * shape[2] + length));
  }

  // The signature `translate` contains the search.
  async function greedily({compiled, metadata}, source) {
    const inputs = padded(source, metadata.max_source_length);
    const found = await run(compiled, "translate", inputs);
    const ids = Array.from(found.target_ids.data);
    const end = ids.indexOf(PAD);
    const tokens = end < 0 ? ids : ids.slice(0, end);
    if (ids.slice(tokens.length).some((id) => id !== PAD)) {
      throw new Error("The answer has padding inside.");
    }
    return {
      tokens,
      tokenScores: Array.from(found.token_scores.data.subarray(0, tokens.length)),
      attention: tokens.map((_, place) => row(found.attention, place, source.length)),
    };
  }

  // The same search with `decode_step`, which also returns energies and candidates of each step.
  async function bySteps({compiled, metadata}, source) {
    const inputs = padded(source, metadata.max_source_length);
    const memory = await run(compiled, "encode", inputs);
    const state = {};
    for (const name of Object.keys(memory).filter((each) => each.startsWith("state_"))) {
      state[name] = memory[name];
      delete memory[name];
    }
    const found = {tokens: [], tokenScores: [], attention: [], steps: []};
    const limit = Math.min(metadata.max_target_length, 3 * source.length + 20);
    while (found.tokens.length < limit && found.tokens.at(-1) !== EOS) {
      const tokens = {data: Int32Array.of(found.tokens.at(-1) ?? BOS), shape: [1, 1]};
      const step = await run(compiled, "decode_step", {tokens, ...state, ...memory});
      for (const name of Object.keys(state)) state[name] = step[name];
      const candidates = best(step.log_probabilities.data);
      found.tokens.push(candidates[0].id);
      found.tokenScores.push(candidates[0].score);
      found.attention.push(row(step.attention, 0, source.length));
      const energies = step.energies ? row(step.energies, 0, source.length) : [];
      found.steps.push({energies, candidates});
    }
    // Without attention, the sentence is one vector.
    const places = Math.min(source.length, memory.annotations.shape[1]);
    found.annotations = Array.from({length: places}, (_, place) => row(memory.annotations, place));
    return found;
  }

  // The candidates with the highest scores; PAD and BOS are excluded.
  function best(scores) {
    const found = [];
    for (let id = EOS; id < scores.length; id++) {
      const score = scores[id];
      if (found.length === CANDIDATES && score <= found.at(-1).score) continue;
      const place = found.findIndex((each) => each.score < score);
      found.splice(place < 0 ? found.length : place, 0, {id, score});
      found.splice(CANDIDATES);
    }
    return found;
  }

  // A failed run returns uninitialized memory, and LiteRT.js 2.5.3 reports no error.
  function check({tokens, tokenScores, attention}, {sourceLength, vocabularySize, attends}) {
    const refuse = (reason) => {
      throw new Error(`The result of the runtime is invalid: ${reason}.`);
    };
    if (!tokens.length) refuse("no token");
    if (tokens.some((id) => id < EOS || id >= vocabularySize)) refuse("a token out of range");
    if (tokens.slice(0, -1).includes(EOS)) refuse("tokens after the end");
    // Rounding may give slightly more than 0.
    if (!tokenScores.every((score) => score <= 1e-3 && score > -Infinity)) refuse("a wrong score");
    const wanted = attends ? 1 : 0;
    for (const weights of attention) {
      const sum = weights.reduce((total, weight) => total + weight, 0);
      const inside = weights.every((weight) => weight >= 0 && weight <= 1.01);
      if (weights.length !== sourceLength || !inside || !(Math.abs(sum - wanted) < 1e-2)) {
        refuse(`attention that does not sum to ${wanted}`);
      }
    }
  }

  // Each target word with the source word of its highest weight, as `0-0 2-1`.
  function pharaoh(wordAttention) {
    const links = Array.from(wordAttention, (weights, target) => {
      const highest = Math.max(0, ...weights);
      return highest > 0 ? `${Array.from(weights).indexOf(highest)}-${target}` : "";
    });
    return links.filter(Boolean).join(" ");
  }

  return {EOS, greedily, bySteps, best, check, pharaoh};
})();
