import manifest from '../../weights/minilm-l6-qa/manifest.json' with { type: 'json' };

/** Where the page has the embedded checkpoint: other weights have another address, so that these are kept for ever. */
export const MODEL = `models/${manifest.name}-${manifest.files['model.safetensors'].sha256.slice(0, 8)}`;
export const MODEL_BYTES = manifest.files['model.safetensors'].bytes;
/** Bytes of a file of it, for servers that do not say. */
export const bytesOf = (file: string): number =>
  (manifest.files as Partial<Record<string, { bytes: number }>>)[file]?.bytes ?? 0;
