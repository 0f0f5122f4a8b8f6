/**
 * The module's exports. Each kernel is a command `(address of its arguments, thread, threads)` that computes one
 * thread's share. The host brings the memory, and a barrier separates one command from the next.
 */
export { attention } from './attention.wasm';
export { embedding, layerNorm } from './layerNorm.wasm';
export { linear } from './linear.wasm';
export { linearInt8 } from './linearInt8.wasm';
export { quantize, range } from './quantize.wasm';
// The inner loops, exported by name: a test reads from V8 which of them the revectorizer widens to 256 bits.
export { softmaxRow } from './attention.wasm';
export { addSum, normalize, squares } from './layerNorm.wasm';
export { tileNarrow, tileWide } from './linear.wasm';
export { int16Narrow, int16Row, int16Wide } from './linearInt16.wasm';
export { relaxedNarrow, relaxedRow, relaxedWide } from './linearInt8.wasm';
export { groupedNarrow, groupedWide } from './linearInt8Grouped.wasm';
export { geluRows } from './math.wasm';
export { minMax, toBytes } from './quantize.wasm';
