/**
 * Differences between Node and a page. Every entry point (index.ts, tensor.ts) imports this file first, which refuses an old
 * Node in clear words. Modules of Node come from `process.getBuiltinModule`, here and everywhere: bundlers
 * for a page would try to follow an `import`.
 */
import { fault } from './errors.ts';

/** @throws BertletError `device` below Node 22.18: WebAssembly features and `ArrayBuffer.transfer` need it */
export function checkNode(version: string | undefined): void {
  if (version === undefined) return; // a page
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return;
  throw fault('device', 'bertlet', 'Node 22.18 or newer', version, 'Update Node.');
}
checkNode(globalThis.process?.versions?.node);

/** Whether this is Node and not a page. */
export const inNode = typeof process === 'object' && Boolean(process.versions?.node);

/**
 * The environment's variables; in a page none. Named by `globalThis`, because bundlers replace `process.env` by what it is
 * where they run, and would publish a token.
 */
export const variables: Readonly<Record<string, string | undefined>> = inNode ? globalThis.process.env : {};

/**
 * Node: whether this is an error of the file system or the network, and not of a program. By its property: in Jest's vm
 * contexts Node's errors are of another class `Error`.
 */
export const isOfSystem = (error: unknown): boolean =>
  typeof (error as { syscall?: unknown } | undefined)?.syscall === 'string';

/**
 * The text of bytes in UTF-8.
 * @throws BertletError `device` if the engine has no TextDecoder; with `fatal`, TypeError for bytes that are not UTF-8
 */
export function textOf(bytes: ArrayBufferView, options?: TextDecoderOptions): string {
  // Node's own where the global was taken away, as by Jest's jsdom.
  const Decoder = globalThis.TextDecoder ?? (inNode ? process.getBuiltinModule('node:util').TextDecoder : undefined);
  if (!Decoder) throw fault('device', 'bertlet', 'an engine with TextDecoder', 'one without');
  return new Decoder('utf-8', options).decode(bytes);
}

/** The bytes of a text in base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
