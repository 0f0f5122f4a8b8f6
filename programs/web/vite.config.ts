/** Builds the page to dist-web/, and serves it with the headers that threads need. */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defineConfig, type Plugin } from 'vite';
import { megabytes } from '../../bench/sizes.ts';
import { convert } from '../convert.ts';
import { FLOAT16, HASH, INT8_PREFIX, PAGE_FILES } from './model.ts';

const ROOT = join(import.meta.dirname, '../..');
const OUT = join(ROOT, 'dist-web');
const WEIGHTS = join(ROOT, 'weights', 'minilm-l6-qa');
/** With the licence of the weights. */
const MODEL_FILES = [...PAGE_FILES, 'README.md'];

const HEADERS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

/** A model of the page: its address there, its folder here, and the bytes of its weights. */
interface PageModel {
  address: string;
  folder: string;
  bytes: number;
}

/** The embedded checkpoint in int8, which is what a visitor downloads first. Made anew each time: that takes a second. */
async function int8Model(): Promise<PageModel> {
  const folder = join(ROOT, 'node_modules', '.cache', `bertlet-web-${process.pid}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const { files } = await convert(WEIGHTS, folder, { precision: 'accurate' });
  const { bytes, sha256 } = files['model.safetensors']!;
  return { address: `${INT8_PREFIX}${sha256.slice(0, HASH)}`, folder, bytes };
}

/** The embedded checkpoint in both precisions, each at its address. */
const models = (all: readonly PageModel[]): Plugin => ({
  name: 'models',
  writeBundle({ dir }) {
    for (const { address, folder } of all) {
      for (const file of MODEL_FILES) {
        cpSync(join(file === 'README.md' ? WEIGHTS : folder, file), join(dir!, address, file));
      }
    }
  },
});

/** Sends the models as they are. Vite would compress them at each visit: what it knows no type of, it takes for text. */
const preview: Plugin = {
  name: 'preview',
  configurePreviewServer({ middlewares }) {
    middlewares.use('/models', (request, response, next) => {
      delete request.headers['accept-encoding'];
      response.setHeader('content-type', 'application/octet-stream');
      next();
    });
  },
};

/** The size of the float weights; the links to the repository, where package.json names one; and the licence, which has to come along. */
const links: Plugin = {
  name: 'links',
  transformIndexHtml(html) {
    const { repository } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const source = (repository?.url ?? repository)?.replace(/^git\+|\.git$/g, '');
    const filled = html.replace('%FLOAT_MB%', megabytes(FLOAT16.bytes, 0).replace(' ', '&nbsp;'));
    return source ? filled.replaceAll('%SOURCE%', source) : filled.replace(/.*%SOURCE%.*\n/g, '');
  },
  generateBundle() {
    this.emitFile({ type: 'asset', fileName: 'LICENSE.txt', source: readFileSync(join(ROOT, 'LICENSE')) });
  },
};

/** The service worker, with the names of all files there are, and a version that changes with any of them. */
const serviceWorker = (all: readonly PageModel[]): Plugin => ({
  name: 'service-worker',
  apply: 'build',
  enforce: 'post',
  generateBundle(_, bundle) {
    const source = readFileSync(join(import.meta.dirname, 'sw.js'), 'utf8');
    const names = Object.keys(bundle).toSorted();
    const hash = createHash('sha256').update(source);
    for (const name of names) {
      const file = bundle[name]!;
      hash.update(name).update(file.type === 'chunk' ? file.code : file.source);
    }
    const build = {
      version: hash.digest('hex').slice(0, 12),
      files: names.map((name) => (name === 'index.html' ? './' : `./${name}`)),
      models: all.map(({ address }) => address),
      headers: HEADERS,
    };
    this.emitFile({ type: 'asset', fileName: 'sw.js', source: source.replace('__BUILD__', JSON.stringify(build)) });
  },
});

export default defineConfig(async ({ isPreview }) => {
  const all = isPreview ? [] : [await int8Model(), { ...FLOAT16, folder: WEIGHTS }];
  const [int8] = all;
  return {
    base: './', // any folder of any host
    plugins: [models(all), preview, links, serviceWorker(all)],
    define: { INT8_MODEL: JSON.stringify(int8 ? { address: int8.address, bytes: int8.bytes } : null) },
    worker: { format: 'es' as const },
    build: { outDir: OUT, emptyOutDir: true, target: 'es2024' },
    // By number: `localhost` may be another address for the browser, with another server. A port in use is passed over, and said.
    preview: { headers: HEADERS, host: '127.0.0.1', port: 8080 },
  };
});
