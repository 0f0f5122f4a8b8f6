import { defineConfig } from 'vitest/config';

/** SwiftShader takes seconds to compile a kernel, and longer on a busy machine: a hang is what a timeout is for. */
export default defineConfig({ test: { globalSetup: 'test/globalSetup.ts', testTimeout: 60_000 } });
