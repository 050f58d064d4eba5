// Evaluated in an empty engine before anything else: takes what it needs of the language while
// that is still what it should be, and returns the function by which the worker does one call.
//
// The worker puts all of it on one line, the first; what programs say begins on the second. So a
// line in a stack tells whose it is. Hence: a semicolon behind everything, comments on their own.
//
// The answer is one text, as the engine gives out no other strings safely: a letter for what it
// is, a line of JSON beside it, and on a third line the payload in JSON, where there is a new one.
//
// To compile this costs more than most calls do, in every call. So what few calls need is in
// `unusual.js`, which comes along as text and is compiled by those that need it.
(() => {
  "use strict";
  const evaluate = globalThis.eval;
  const { parse, stringify, rawJSON } = JSON;
  const { apply } = Reflect;
  const { join } = Array.prototype;
  const { isArray } = Array;
  const { keys } = Object;
  const Later = Promise;
  const toText = String;
  // Of long texts a plus, or a template, makes a rope, which the worker can't read.
  const answer = (...lines) => apply(join, lines, ["\n"]);
  const kit = { __proto__: null, answer, parse, stringify, write: () => {} };
  const log = (...values) => kit.write(values);
  globalThis.console = { debug: log, error: log, info: log, log, warn: log };
  BigInt.prototype.toJSON = function () { return rawJSON(toText(this)); };

  return (mode, source, text, event, more) => {
    const rest = () => (kit.rest ??= evaluate(more)(kit));
    const spell = (given) => {
      const headers = { __proto__: null };
      if (given === undefined || given === null) return "{}";
      if (typeof given !== "object" || isArray(given)) rest().refuse("headers is no object");
      const names = keys(given);
      for (let at = 0; at < names.length; at++) {
        const value = given[names[at]];
        if (value === undefined || value === null) continue;
        const kind = typeof value;
        if (kind === "object" || kind === "function" || kind === "symbol") {
          rest().refuse("headers." + names[at] + " is no text");
        }
        headers[names[at]] = toText(value);
      }
      return stringify({ __proto__: null, headers });
    };
    if (mode === "log") return rest().log();
    let stage = "exception";
    try {
      const given = mode === "json" ? parse(text) : rest().read(mode, text);
      const about = parse(event);
      stage = "compile";
      // What a program declares by const or let is known to its own text alone.
      const transform = evaluate(`\n${source}\n;typeof transform === "undefined" ? 0 : transform`);
      if (mode === "check" || typeof transform !== "function") return rest().check(transform);
      stage = "exception";
      const result = transform(given, about);

      // {payload, headers, skip}, or some of them, is the long form; all else is the payload.
      let payload = result;
      let beside = "{}";
      if (typeof result === "object" && result !== null && !isArray(result)) {
        const names = keys(result);
        let known = 0;
        let at = -1;
        while (++at < names.length) {
          if (names[at] === "payload") known |= 1;
          else if (names[at] === "headers") known |= 2;
          else if (names[at] === "skip") known |= 4;
          else break;
        }
        if (known && at === names.length) {
          const skip = known & 4 ? result.skip : false;
          if (skip === true) return "S\n{}";
          if (skip) rest().refuse("skip is neither true nor false");
          if (known & 2) beside = spell(result.headers);
          if (!(known & 1)) return answer("=", beside);
          payload = result.payload;
        }
      }
      if (mode === "text" && typeof payload === "string") {
        const again = payload === given;
        return again ? answer("=", beside) : answer("T", beside, stringify(payload));
      }
      const made = stringify(payload);
      if (payload instanceof Later) rest().refuse("a promise was returned, which nobody waits for");
      if (made === undefined) rest().refuse(typeof payload + " was returned, which is no JSON");
      // Written anew it may differ in blanks and in how numbers are spelled, and be the same.
      const again = () => stringify(mode === "json" ? parse(text) : rest().read(mode, text));
      const same = mode !== "text" && (made === text || made === again());
      return same ? answer("=", beside) : answer("P", beside, made);
    } catch (error) {
      return rest().failed(stage, error);
    }
  };
})()
