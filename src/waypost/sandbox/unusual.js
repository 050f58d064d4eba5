// What few calls need, compiled by those: see `harness.js`, whose kit it is given. It may come
// after the program has changed the language; then it is the program's own report that suffers.
(kit) => {
  "use strict";
  const LINES_MAX = 100;
  const LINE_MAX = 1000;
  const { answer, parse, stringify } = kit;

  class Refusal {
    constructor(message) {
      this.message = message;
    }
  }
  const refuse = (message) => {
    throw new Refusal(message);
  };

  // An integer that a number can't hold is a BigInt.
  const revive = (_name, value, { source }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    return /^-?\d+$/.test(source) ? BigInt(source) : value;
  };

  const cut = (text) => {
    return (text.length > LINE_MAX ? `${text.slice(0, LINE_MAX)}…` : text).toWellFormed();
  };
  const show = (value) => {
    if (typeof value === "string") return value;
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    return stringify(value) ?? String(value);
  };
  const lines = Object.setPrototypeOf([], null);
  kit.write = (values) => {
    if (lines.length > LINES_MAX) return;
    let line = lines.length === LINES_MAX ? "…" : "";
    for (let at = 0; at < values.length && line !== "…"; at++) {
      let text = "?";
      try {
        text = show(values[at]);
      } catch {
        // It does not want to be shown.
      }
      line += (at ? " " : "") + text;
    }
    lines[lines.length] = cut(line);
  };

  return {
    __proto__: null,

    read(mode, text) {
      return mode === "exact" ? parse(text, revive) : parse(text);
    },

    log() {
      return stringify(lines);
    },

    check(transform) {
      if (typeof transform !== "function") refuse("there is no function named transform");
      if (Object.prototype.toString.call(transform) !== "[object Function]") {
        refuse("transform must be an ordinary function: not async, no generator");
      }
      return "K\n{}";
    },

    refuse,

    failed(kind, error) {
      // To be told as it is: to say more would take more memory.
      if (error instanceof InternalError && error.message === "out of memory") throw error;
      let message = "something was thrown that can't be shown";
      let stack = "";
      try {
        message = error instanceof Refusal ? error.message : show(error);
        // The engine's own way to say that there was no memory left even for an error.
        if (error === null) message = "null was thrown, as it is where no memory is left";
        stack = error instanceof Error ? String(error.stack) : "";
      } catch {
        // It is hostile; what is known of it so far must do.
      }
      if (kind === "exception" && error instanceof Refusal) kind = "result";
      const told = { __proto__: null, kind, message: cut(String(message)), stack };
      return answer("E", stringify(told));
    },
  };
}
