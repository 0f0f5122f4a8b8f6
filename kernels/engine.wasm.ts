/** The module: every kernel as a command `(arguments, thread, threads)`, over the memory that the host brings. */
export { attention } from './attention.wasm';
export { embedding, layerNorm } from './layerNorm.wasm';
export { linear } from './linear.wasm';
export { linearInt8 } from './linearInt8.wasm';
export { quantize, range } from './quantize.wasm';
// Their inner loops, by name for the test that reads which of them V8 widens.
export { softmaxRow } from './attention.wasm';
export { addSum, normalize, squares } from './layerNorm.wasm';
export { tileNarrow, tileWide } from './linear.wasm';
export { int16Narrow, int16Row, int16Wide } from './linearInt16.wasm';
export { relaxedNarrow, relaxedRow, relaxedWide } from './linearInt8.wasm';
export { groupedNarrow, groupedWide } from './linearInt8Grouped.wasm';
export { geluRows } from './math.wasm';
export { minMax, toBytes } from './quantize.wasm';
