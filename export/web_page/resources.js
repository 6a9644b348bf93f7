"use strict";

// The files of the page: compressed data blocks of a single file, or files of the web server.
class Resources {
  // Whether the page is a single file.
  static get embedded() {
    return Boolean(document.querySelector("script[data-name]"));
  }

  // `name` may end with a version, "models/model.tflite?v=0123456789ab". `progress` is called with
  // the number of bytes of each chunk.
  static async bytes(name, progress = () => {}) {
    const [path] = name.split("?");
    const element = document.querySelector(`script[data-name="${CSS.escape(path)}"]`);
    const stream = element ? Resources.#unpacked(element) : await Resources.#requested(name);
    const parts = [];
    for (const reader = stream.getReader(); ;) {
      const {done, value} = await reader.read();
      if (done) break;
      parts.push(value);
      progress(value.length);
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
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
    const cache = name.includes("?v=") ? "default" : "no-cache";
    const response = await fetch(name, {cache}).catch(({message}) => {
      // A frame's sandbox: the folder is of another origin than the page.
      const advice = self.origin !== "null" ? "" : " Add allow-same-origin to the sandbox of its " +
        "frame, or use a page that was exported as a single file.";
      throw new Error(`${name} cannot be loaded (${message}).${advice}`);
    });
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    return response.body;
  }

  // The URL of one script made of several. A worker from a blob has the page's security policy; one
  // from a server would have that of its response, which is none on most servers.
  static async scriptUrl(...names) {
    const texts = await Promise.all(names.map((name) => Resources.text(name)));
    return URL.createObjectURL(new Blob([texts.join("\n")], {type: "text/javascript"}));
  }
}
