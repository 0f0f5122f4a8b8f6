import { defineConfig } from 'vite';

/** Headers that threads need; without them a model computes in one. */
const headers = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };

export default defineConfig({
  publicDir: '../../weights', // has minilm-l6-qa/, which the page loads
  worker: { format: 'es' },
  build: { target: 'es2024' },
  server: { headers },
  preview: { headers },
});
