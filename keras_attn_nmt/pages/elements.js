"use strict";

/** Elements, downloads and the clipboard, for all pages. */
globalThis.PageElements = (() => {
  // Living scripts that run from right to left, by their codes in ISO 15924.
  const RIGHT_TO_LEFT = new Set([
    "Adlm", "Arab", "Aran", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa", "Yezi",
  ]);

  /** An element with attributes and children; strings become text, never markup. */
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== "") made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  /** Saves a file, as a click on a download link does. */
  function download(blob, name) {
    const link = element("a", {href: URL.createObjectURL(blob), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  async function copyText(text) {
    try {
      await navigator.clipboard.writeText(text);
      return;
    } catch {
      // Pages from an insecure server have no clipboard, and those in a frame of another page are
      // not allowed to use it: both may use the older method.
    }
    const focused = document.activeElement;
    const area = element("textarea", {class: "attention-offscreen"});
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus({preventScroll: true});
    if (!copied) throw new Error("not allowed");
  }

  /** A number with a true minus sign. */
  const decimal = (value, places) => value.toFixed(places).replace("-", "\u2212");

  /** Text whose direction does not affect the surrounding text. */
  const isolated = (text) => `\u2068${text}\u2069`;

  /** "German" for "de"; other names of languages are unchanged. */
  function languageName(code) {
    try {
      return code && new Intl.DisplayNames(["en"], {type: "language"}).of(code);
    } catch {
      return code;
    }
  }

  /** Attributes of text in a language, which a browser shall not translate. */
  function textIn(language) {
    return {lang: language, dir: directionOf(language), translate: "no"};
  }

  /** "rtl" or "ltr", whatever the first word is; "auto", by it, for unknown languages. */
  function directionOf(language) {
    try {
      const {script} = new Intl.Locale(language).maximize();
      if (!script) return "auto";
      return RIGHT_TO_LEFT.has(script) ? "rtl" : "ltr";
    } catch {
      return "auto";
    }
  }

  /** Arrow keys, Home and End in a line; left is forward where the script runs to the left. */
  function moveFocus(event, line, options) {
    const forward = getComputedStyle(line).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const last = options.length - 1;
    const at = options.indexOf(event.target);
    const next = {
      [forward]: Math.min(at + 1, last),
      [forward === "ArrowLeft" ? "ArrowRight" : "ArrowLeft"]: Math.max(at - 1, 0),
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === "Escape") event.target.blur();
    if (next === undefined) return;
    event.preventDefault();
    options.forEach((option, index) => (option.tabIndex = index === next ? 0 : -1));
    options[next].focus();
  }

  /** The JSON that Python wrote into the page. */
  const pageData = () => JSON.parse(document.getElementById("data").textContent);

  return {
    element, download, copyText, decimal, isolated, languageName, moveFocus, pageData, textIn,
  };
})();
