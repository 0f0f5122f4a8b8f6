/**
 * The module's exports. Each kernel is a command `(address of its arguments, chunk, chunks, thread)` that computes one
 * chunk of the work; `thread` says which scratch memory to use. The host brings the memory, and starts a command only
 * when all chunks of the command before are done.
 */
export { attention } from './attention.wasm';
export { elementwise, mean } from './elementwise.wasm';
export { groupPanel } from './grouping.wasm';
export { halfToFloat } from './halfToFloat.wasm';
export { layerNorm } from './layerNorm.wasm';
export { linear } from './linear.wasm';
export { linearInt8 } from './linearInt8.wasm';
export { packRows, transpose } from './matmul.wasm';
export { pack, rowSum } from './pack.wasm';
export { dotOf128, isFused } from './probe.wasm';
export { quantize, range } from './quantize.wasm';
export { quantizeWeight } from './quantizeWeight.wasm';
export { rows } from './rows.wasm';
export { softmax } from './softmax.wasm';
// The inner loops, exported by name: a test reads from V8 which of them the revectorizer widens to 256 bits.
export { softmaxRow } from './attention.wasm';
export { meanColumns, pairRow } from './elementwise.wasm';
export { addSum, normalize, squares } from './layerNorm.wasm';
export { tile6x16, tile6x8 } from './linear.wasm';
export { int16Tile } from './linearInt16.wasm';
export { relaxed6x16, relaxed6x8, relaxedRow } from './linearInt8.wasm';
export { groupedTile } from './linearInt8Grouped.wasm';
export { activate, geluRows } from './math.wasm';
export { minMax, toBytes } from './quantize.wasm';
export { addRows } from './rows.wasm';
export { scaleRow } from './softmax.wasm';
