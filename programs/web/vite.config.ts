/** Builds the page to dist-web/, and serves it with the headers that threads need. */
import { createHash } from 'node:crypto';
import { cpSync, createReadStream, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Plugin } from 'vite';
import { MODEL } from './model.ts';

const ROOT = join(import.meta.dirname, '../..');
const OUT = join(ROOT, 'dist-web');
const WEIGHTS = join(ROOT, 'weights', 'minilm-l6-qa');
const MODEL_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors', 'README.md'];

/** The embedded checkpoint at its address: from weights/ while developing, copied when built. */
const model: Plugin = {
  name: 'model',
  configureServer({ middlewares }) {
    middlewares.use((request, response, next) => {
      const file = MODEL_FILES.find((name) => request.url === `/${MODEL}/${name}`);
      if (!file) return next();
      response.setHeader('content-length', statSync(join(WEIGHTS, file)).size);
      createReadStream(join(WEIGHTS, file)).pipe(response);
    });
  },
  writeBundle({ dir }) {
    for (const file of MODEL_FILES) cpSync(join(WEIGHTS, file), join(dir!, MODEL, file));
  },
};

/** The links to the repository, where package.json names one; and the licence, which has to come along. */
const links: Plugin = {
  name: 'links',
  transformIndexHtml(html) {
    const { repository } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const source = (repository?.url ?? repository)?.replace(/^git\+|\.git$/g, '');
    return source ? html.replaceAll('%SOURCE%', source) : html.replace(/.*%SOURCE%.*\n/g, '');
  },
  generateBundle() {
    this.emitFile({ type: 'asset', fileName: 'LICENSE.txt', source: readFileSync(join(ROOT, 'LICENSE')) });
  },
};

/** The service worker, with the names of all files there are, and a version that changes with any of them. */
const serviceWorker: Plugin = {
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
    const files = JSON.stringify(['./', ...names.filter((name) => name !== 'index.html').map((name) => `./${name}`)]);
    const version = hash.digest('hex').slice(0, 12);
    const filled = source
      .replace("['__FILES__']", files)
      .replace("['__MODEL_FILES__']", JSON.stringify(MODEL_FILES))
      .replace('__VERSION__', version)
      .replace('__MODEL__', MODEL);
    this.emitFile({ type: 'asset', fileName: 'sw.js', source: filled });
  },
};

const headers = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

export default defineConfig({
  base: './', // any folder of any host
  plugins: [model, links, serviceWorker],
  worker: { format: 'es' },
  build: { outDir: OUT, emptyOutDir: true, target: 'es2024' },
  server: { headers },
  // By number: `localhost` may be another address for the browser, with another server. A port in use is passed over, and said.
  preview: { headers, host: '127.0.0.1', port: 8080 },
});
