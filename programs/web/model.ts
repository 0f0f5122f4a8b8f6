/** The embedded checkpoint as the page has it. Other weights have another address, so that these are kept for ever. */
import manifest from '../../weights/minilm-l6-qa/manifest.json' with { type: 'json' };

/** A tokenizer may have other files as well, which need not be asked for. */
export const PAGE_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];

/** Characters of a file's hash in its address. */
export const HASH = 8;
const { 'model.safetensors': weights } = manifest.files;

/** The file of the repository: what float32, float16 and PyTorch's int8 are made of. */
export const FLOAT16 = { address: `models/${manifest.name}-${weights.sha256.slice(0, HASH)}`, bytes: weights.bytes };

/** The start of the address of what `convert` makes of it for the page, in int8 with float16 embeddings: three quarters of the size. */
export const INT8_PREFIX = `models/${manifest.name}-int8-`;
/** Filled in by vite.config.ts. */
declare const INT8_MODEL: { address: string; bytes: number };
/** The model that a visitor downloads first: the page's default is made of it, with the same answers. */
export const INT8 = typeof INT8_MODEL === 'undefined' ? FLOAT16 : INT8_MODEL;
