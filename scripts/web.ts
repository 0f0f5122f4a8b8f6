/** `npm run web`: builds the page (programs/web) and serves it. */
import { join } from 'node:path';
import { Command } from 'commander';
import { build, preview } from 'vite';

const { port, host } = new Command('web')
  .description('Builds the page to dist-web/ and serves it, with the headers that threads need.')
  .option('--port <n>', 'port of this machine', Number, 4173)
  .option('--host <name>', 'an address that others reach as well; 0.0.0.0 is all of them', 'localhost')
  .parse()
  .opts<{ port: number; host: string }>();
const root = join(import.meta.dirname, '../programs/web');
await build({ root });
(await preview({ root, preview: { port, host } })).printUrls();
