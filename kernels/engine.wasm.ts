/** The module: every kernel as a command `(arguments, thread, threads)`, over the memory that the host brings. */
export { attention } from './attention.wasm';
export { embedding, layerNorm } from './layerNorm.wasm';
export { linear } from './linear.wasm';
export { linearInt8 } from './linearInt8.wasm';
export { quantize, range } from './quantize.wasm';
