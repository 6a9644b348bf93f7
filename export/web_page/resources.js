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
    const parts = [];
    try {
      const stream = element ? Resources.#unpacked(element) : await Resources.#requested(name);
      for (const reader = stream.getReader(); ;) {
        const {done, value} = await reader.read();
        if (done) break;
        parts.push(value);
        progress(value.length);
      }
    } catch ({message}) {
      // A frame's sandbox: the folder is of another origin than the page.
      const advice = element || self.origin !== "null" ? "" : " Add allow-same-origin to the " +
        "sandbox of its frame, or use a page that was exported as a single file.";
      throw new Error(`${path} cannot be loaded (${message}).${advice}`);
    }
    const content = new Uint8Array(await new Blob(parts).arrayBuffer());
    if (version && !element) await Resources.#check(content, path, version);
    return content;
  }

  // A cache that ignores versions, or an incomplete upload, gives the file of another export. Only
  // pages from HTTPS or this computer can calculate the hash.
  static async #check(content, path, version) {
    if (!globalThis.crypto?.subtle) return;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (hash.startsWith(version)) return;
    throw new Error(
      `${path} is damaged, or from another export than this page: a cache is out of date, or ` +
      "files are missing on the server. Reload the page; upload all files of the export.");
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

  // Files without a version in their name are revalidated: a later export may have replaced them.
  static async #requested(name) {
    const response = await fetch(name, {cache: name.includes("?v=") ? "default" : "no-cache"});
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
