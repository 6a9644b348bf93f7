"use strict";

/** The heat map of attention on a canvas: rows are target units, columns source units. */
globalThis.AttentionMap = (() => {
  const [SMALLEST_CELL, LARGEST_CELL] = [12, 34];
  const LONGEST_LABEL = 130;
  const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
  const GAP = 8;
  // The bar and number of each row's probability.
  const [BAR, NUMBER] = [44, 34];
  const [LEGEND, LEGEND_WIDTH] = [58, 210];
  // What every browser on a desktop draws: longest side and area of a canvas, in pixels.
  const [LONGEST_SIDE, LARGEST_AREA] = [16_384, 2 ** 26];
  // Of a saved picture: resolution, margin, width of its text and of maps with large cells.
  const [SCALE, MARGIN, TEXT_WIDTH, PICTURE_WIDTH] = [2, 28, 460, 1100];

  const fontOf = (size, weight = 400) => `${weight} ${size}px ${FONT}`;

  function shortened(context, text, width = LONGEST_LABEL) {
    if (context.measureText(text).width <= width) return text;
    const characters = [...text];
    const cut = () => `${characters.join("")}…`;
    while (characters.length > 1 && context.measureText(cut()).width > width) characters.pop();
    return cut();
  }

  /**
   * The layout in CSS pixels: cells shrink so that the map fits into `width`, but not below a size
   * at which labels are readable.
   */
  function layout(context, data, width) {
    const [rows, columns] = [data.targets.length, data.sources.length];
    // Bold, like the active label.
    context.font = fontOf(13, 700);
    const widest = (units) =>
      Math.max(0, ...units.map(({label}) => context.measureText(shortened(context, label)).width));
    const left = Math.ceil(widest(data.targets)) + GAP;
    const right = GAP + BAR + NUMBER;
    const fitting = Math.floor((width - left - right) / columns);
    const cell = Math.min(LARGEST_CELL, Math.max(SMALLEST_CELL, fitting));
    const angle = cell < 22 ? Math.PI / 2 : Math.PI / 4;
    const label = widest(data.sources);
    const top = Math.ceil(label * Math.sin(angle)) + 2 * GAP + 6;
    // Slanted labels lean over the right edge.
    const over = Math.max(right, label * Math.cos(angle) + GAP);
    return {
      rows,
      columns,
      cell,
      left,
      top,
      angle,
      font: Math.min(13, Math.max(10.5, cell - 1)),
      width: Math.ceil(left + Math.max(columns * cell + over, LEGEND_WIDTH)),
      height: Math.ceil(top + rows * cell + LEGEND),
    };
  }

  /** The cell at a point, as `{source, target}`, or null. */
  function cellAt(place, directions, x, y) {
    const column = Math.floor((x - place.left) / place.cell);
    const target = Math.floor((y - place.top) / place.cell);
    if (column < 0 || column >= place.columns || target < 0 || target >= place.rows) return null;
    return {source: directions.source === "rtl" ? place.columns - 1 - column : column, target};
  }

  /**
   * Paints the map. `active` is `{source, target}`, null for none; `directions` are the text
   * directions of both sides, "ltr" or "rtl".
   */
  function paint(context, data, place, {theme, active, directions}) {
    const {cell, left, top, rows, columns} = place;
    const columnOf = (source) => directions.source === "rtl" ? columns - 1 - source : source;
    context.textBaseline = "middle";
    data.targets.forEach(({label, symbol}, row) => {
      const y = top + (row + 0.5) * cell;
      const chosen = active.target === row;
      context.font = fontOf(place.font, chosen ? 700 : 400);
      context.fillStyle = theme.ink;
      context.textAlign = "right";
      context.direction = symbol ? "ltr" : directions.target;
      context.fillText(shortened(context, label), left - GAP, y);
      context.direction = "ltr";
      for (let source = 0; source < columns; source++) {
        const x = left + columnOf(source) * cell;
        context.fillStyle = theme.line;
        context.globalAlpha = 0.45;
        context.fillRect(x + 0.5, y - cell / 2 + 0.5, cell - 1, cell - 1);
        context.fillStyle = theme.cell;
        context.globalAlpha = Math.min(1, Math.max(0, data.weights[row][source]));
        context.fillRect(x + 0.5, y - cell / 2 + 0.5, cell - 1, cell - 1);
      }
      context.globalAlpha = 1;
      paintProbability(context, data.probabilities[row], left + columns * cell + GAP, y, theme);
    });
    data.sources.forEach(({label, symbol}, source) => {
      context.save();
      context.translate(left + (columnOf(source) + 0.5) * cell, top - GAP);
      context.rotate(-place.angle);
      context.textAlign = "left";
      context.direction = symbol ? "ltr" : directions.source;
      context.font = fontOf(place.font, active.source === source ? 700 : 400);
      context.fillStyle = theme.ink;
      context.fillText(shortened(context, label), 0, 0);
      context.restore();
    });
    context.strokeStyle = theme.accent;
    context.lineWidth = 1.5;
    const [width, height] = [columns * cell, rows * cell];
    if (active.target !== null) {
      context.strokeRect(left, top + active.target * cell, width, cell);
    }
    if (active.source !== null) {
      context.strokeRect(left + columnOf(active.source) * cell, top, cell, height);
    }
    context.textAlign = "right";
    context.font = fontOf(10.5);
    context.fillStyle = theme.muted;
    context.fillText("probability", left + width + GAP + BAR + NUMBER - 4, top + height + 12);
    paintLegend(context, left, top + height + 36, theme);
  }

  function paintProbability(context, probability, x, y, theme) {
    context.fillStyle = theme.line;
    context.fillRect(x, y - 1.5, BAR, 3);
    context.fillStyle = theme.accent;
    context.fillRect(x, y - 1.5, BAR * probability, 3);
    context.font = fontOf(10.5);
    context.fillStyle = theme.muted;
    context.fillText(probability.toFixed(2), x + BAR + NUMBER - 4, y);
  }

  function paintLegend(context, left, y, theme) {
    const [width, steps] = [110, 55];
    context.textAlign = "left";
    context.font = fontOf(11);
    context.fillStyle = theme.muted;
    context.fillText("attention 0", left, y);
    // On whole pixels, so that the steps have no seams.
    const x = Math.round(left + context.measureText("attention 0").width + 6);
    for (let step = 0; step < steps; step++) {
      context.globalAlpha = (step + 0.5) / steps;
      context.fillStyle = theme.cell;
      context.fillRect(x + (step * width) / steps, y - 5, width / steps, 10);
    }
    context.globalAlpha = 1;
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.strokeRect(x, y - 5, width, 10);
    context.fillStyle = theme.muted;
    context.fillText("1", x + width + 6, y);
  }

  function wrapped(context, text, width) {
    const lines = [""];
    for (const word of text.split(/\s+/)) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
      else lines.push(shortened(context, word, width));
    }
    return lines.filter(Boolean);
  }

  /** The resolution of a canvas: `wanted` pixels per CSS pixel, or fewer if it is too large. */
  function resolution(width, height, wanted) {
    const area = Math.sqrt(LARGEST_AREA / (width * height));
    return Math.min(wanted, LONGEST_SIDE / width, LONGEST_SIDE / height, area);
  }

  /** A picture of source, translation and map on a new canvas. */
  function picture(translation, data, {theme, directions}) {
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d");
    const place = layout(context, data, PICTURE_WIDTH);
    const width = Math.max(place.width, TEXT_WIDTH);
    context.font = fontOf(15, 600);
    const linesOf = (text, weight, colour, direction) =>
      wrapped(context, text, width).map((line) => ({line, weight, colour, direction}));
    const lines = [
      ...linesOf(translation.source, 400, "muted", directions.source),
      ...linesOf(translation.translation, 600, "ink", directions.target),
    ];
    const header = lines.length * 22 + 14;
    const size = [width + 2 * MARGIN, header + place.height + 2 * MARGIN];
    const scale = resolution(...size, SCALE);
    [canvas.width, canvas.height] = size.map((length) => Math.floor(scale * length));
    context.scale(scale, scale);
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, ...size);
    context.translate(MARGIN, MARGIN);
    context.textBaseline = "top";
    context.textAlign = "start";
    lines.forEach(({line, weight, colour, direction}, i) => {
      context.font = fontOf(15, weight);
      context.fillStyle = theme[colour];
      context.direction = direction;
      context.fillText(line, direction === "rtl" ? width : 0, 22 * i);
    });
    context.translate(0, header);
    paint(context, data, place, {theme, directions, active: {source: null, target: null}});
    return canvas;
  }

  return {layout, paint, cellAt, resolution, picture};
})();
