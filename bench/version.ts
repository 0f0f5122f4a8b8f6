/** Version of this package, which finds itself by its name, from the sources as from dist. */
import { createRequire } from 'node:module';

export const VERSION: string = createRequire(import.meta.url)('bertlet/package.json').version;
