"use strict";

// The files of the page: compressed data blocks of a single file, or files of the web server.
class Resources {
  // Whether the page is a single file.
  static get embedded() {
    return Boolean(document.querySelector("script[data-name]"));
  }

  // `name` may end with a version, the beginning of the file's SHA-256: "litert.js?v=0123456789ab".
  // `progress` is called with the number of bytes of each chunk.
  static async bytes(name, progress = () => {}) {
    const [path, version] = name.split("?v=");
    const element = document.querySelector(`script[data-name="${CSS.escape(path)}"]`);
    if (element) return Resources.#content(path, () => Resources.#unpacked(element), progress);
    // Files without a version are revalidated: a later export may have replaced them. A browser that
    // came during an upload has kept another file under the URL of this version.
    for (const cache of version ? ["default", "reload"] : ["no-cache"]) {
      const request = () => Resources.#requested(name, cache);
      const content = await Resources.#content(path, request, progress);
      if (!version || await Resources.#isOf(version, content)) return content;
    }
    throw new Error(
      `${path} is damaged, or from another export than this page: a cache is out of date, or ` +
      "files are missing on the server. Reload the page; upload all files of the export.");
  }

  static async #content(path, open, progress) {
    const parts = [];
    try {
      const stream = await open();
      for (const reader = stream.getReader(); ;) {
        const {done, value} = await reader.read();
        if (done) break;
        parts.push(value);
        progress(value.length);
      }
    } catch ({message}) {
      // A frame's sandbox: the folder is of another origin than the page.
      const advice = Resources.embedded || self.origin !== "null" ? "" : " Add allow-same-origin " +
        "to the sandbox of its frame, or use a page that was exported as a single file.";
      throw new Error(`${path} cannot be loaded (${message}).${advice}`);
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }

  // Only pages from HTTPS or this computer can calculate the hash.
  static async #isOf(version, content) {
    if (!globalThis.crypto?.subtle) return true;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hash.startsWith(version);
  }

  static async text(name) {
    return new TextDecoder().decode(await Resources.bytes(name));
  }

  static #unpacked(element) {
    const plain = element.type !== "application/octet-stream";
    if (plain) return new Blob([element.textContent]).stream();
    const packed = Uint8Array.from(atob(element.textContent), (each) => each.charCodeAt(0));
    return new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  }

  static async #requested(name, cache) {
    const response = await fetch(name, {cache});
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`.trim());
    return response.body;
  }

  // The URL of one script made of several. A worker from a blob has the page's security policy; one
  // from a server would have that of its response, which is none on most servers.
  static async scriptUrl(...names) {
    const texts = await Promise.all(names.map((name) => Resources.text(name)));
    return URL.createObjectURL(new Blob([texts.join("\n")], {type: "text/javascript"}));
  }
}
