/**
 * The module's exports. Each kernel is a command `(address of its arguments, chunk, chunks, thread)` that computes one
 * chunk of the work; `thread` says which scratch memory to use. The host brings the memory, and starts a command only
 * when all chunks of the command before are done. The inner loops are exported by name, too: a test reads from V8 which of
 * them the revectorizer makes 256 bits wide.
 */
export { attention, softmaxRow } from './attention.wasm';
export { elementwise, mean, pairRow } from './elementwise.wasm';
export { groupPanel } from './grouping.wasm';
export { halfToFloat } from './halfToFloat.wasm';
export { addSum, layerNorm, normalize, squares } from './layerNorm.wasm';
export { linear, tile6x16, tile6x8 } from './linear.wasm';
export { int16Tile } from './linearInt16.wasm';
export { linearInt8, relaxed6x16, relaxed6x8 } from './linearInt8.wasm';
export { groupedTile } from './linearInt8Grouped.wasm';
export { activateRow, geluRows, scaleRow } from './math.wasm';
export { copyLines, packRows, transpose } from './matmul.wasm';
export { pack, rowSum } from './pack.wasm';
export { dotOf128, isFused } from './probe.wasm';
export { minMax, quantize, range, toBytes } from './quantize.wasm';
export { quantizeWeight } from './quantizeWeight.wasm';
export { addRows, rows } from './rows.wasm';
export { softmax } from './softmax.wasm';
