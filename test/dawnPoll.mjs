/**
 * Preloaded into every process that the tests start. While Dawn waits for a GPU, its Node binding asks for news by
 * setImmediate, again and again, and takes a whole core from SwiftShader, which computes on the same cores. Here it asks
 * once a millisecond. Its callbacks are native functions; others are left alone.
 */
const { setImmediate } = globalThis;
const native = (callback) => /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(callback));
globalThis.setImmediate = Object.assign(
  (callback, ...values) => (native(callback) ? setTimeout(callback, 1, ...values) : setImmediate(callback, ...values)),
  setImmediate,
);
