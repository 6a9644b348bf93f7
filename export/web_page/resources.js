"use strict";

// The files of the page: blocks of compressed data in it, or its neighbours on the server.
class Resources {
  // Whether the page is one file.
  static get embedded() {
    return Boolean(document.querySelector("script[data-name]"));
  }

  // `progress` is called with the number of bytes that came, now and then.
  static async bytes(name, progress = () => {}) {
    const element = document.querySelector(`script[data-name="${CSS.escape(name)}"]`);
    const stream = element ? Resources.embeddedStream(element) : await Resources.requested(name);
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

  static embeddedStream(element) {
    const plain = element.type !== "application/octet-stream";
    if (plain) return new Blob([element.textContent]).stream();
    const packed = Uint8Array.from(atob(element.textContent), (each) => each.charCodeAt(0));
    return new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  }

  static async requested(name) {
    const response = await fetch(name);
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    return response.body;
  }

  // An address for a script; several scripts of a page of one file become one.
  static async scriptUrl(...names) {
    if (!Resources.embedded) return new URL(names.at(-1), document.baseURI).href;
    const texts = await Promise.all(names.map((name) => Resources.text(name)));
    const blob = new Blob([texts.join("\n")], {type: "text/javascript"});
    return URL.createObjectURL(blob);
  }
}
