/** The GPU device as a part of a process: what it says when something is missing or fails, and how it ends. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { constant, normal } from '../kernels/op.ts';
import { Runtime } from '../src/runtime.ts';
import { startWithGpuDevice } from './gpu.ts';
import { expectError, ROOT, runScript } from './support.ts';

const load = (options: string) => `const qa = await load(tiny, { ${options} });`;
const refused = `await load(tiny, { device: 'webgpu', dtype: 'fp32' }).catch((error) => console.log(error.name, error.code, error.message));`;
const auto = `${load("device: 'auto', threads: 1")} console.log(qa.info.device, qa.info.reason); await qa.dispose();`;

describe('what is missing', () => {
  let folder: string;
  const copyPackage = (to: string) => {
    cpSync(join(ROOT, 'dist'), join(to, 'dist'), { recursive: true });
    writeFileSync(join(to, 'package.json'), '{ "type": "module" }');
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
    copyPackage(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('no package: an error that says how to install it; auto takes cpu and says why', () => {
    const { status, stdout } = runScript(refused + auto, { root: folder });
    expect(stdout).toMatch(
      /^BertletError device webgpu: expected the package `webgpu`, got none that loads \(.*\)\. Install it: `npm install webgpu`\. Or use `cpu`\.\ncpu webgpu: expected the package .*; cpu is the fastest device that starts here\n$/,
    );
    expect(status).toBe(0);
  });
  test('no driver', () => {
    const { status, stdout } = runScript(refused + auto, { env: { VK_DRIVER_FILES: '/nowhere', BERTLET_ADAPTER: '' } });
    expect(stdout).toMatch(
      /^BertletError device webgpu: expected an adapter, got none\. WebGPU needs .*\ncpu webgpu: expected an adapter, got none.*; cpu is the fastest device that starts here\n$/,
    );
    expect(status).toBe(0);
  });
  test('an adapter that does not exist: those that do are named', () => {
    const { status, stdout } = runScript(refused, { env: { BERTLET_ADAPTER: 'nonesuch' } });
    expect(stdout).toMatch(/^BertletError device webgpu: expected an adapter named nonesuch, got none \(/);
    expect(stdout).toMatch(/Available adapters/);
    expect(status).toBe(0);
  });
  test('a software adapter: auto takes cpu and says why', () => {
    const { status, stdout } = runScript(auto);
    expect(stdout).toMatch(
      /^cpu webgpu: expected a GPU, got .* \(software\), slower than `cpu`\. .*[^.]; cpu is the fastest device that starts here\n$/,
    );
    expect(status).toBe(0);
  });

  describe('kernels', () => {
    /** A copy of the package with its dependencies. */
    const copy = () => {
      const root = mkdtempSync(join(folder, 'copy-'));
      copyPackage(root);
      symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
      return root;
    };
    /** What a copy says in which a kernel is another. */
    const broken = (file: string, from: string, to: string) => {
      const root = copy();
      const path = join(root, 'dist', 'wasm', 'assets.js');
      const source = readFileSync(path, 'utf8');
      const at = source.indexOf(from, source.indexOf(`"${file}":`));
      expect(at).toBeGreaterThan(0);
      writeFileSync(path, source.slice(0, at) + to + source.slice(at + from.length));
      return runScript(refused, { root });
    };
    test('a shader that does not compile', () => {
      const { status, stdout } = broken('layerNorm', 'fn total(', 'fn total((');
      expect(stdout).toMatch(
        /^BertletError device webgpu, .*software.*: expected a device that computes, got an error \(Error while parsing WGSL/m,
      );
      expect(status).toBe(0);
    });
    test('a shader that computes something else is found by the self-test', () => {
      const { status, stdout } = broken('linear', 'products(v.x, w)', 'products(v.y, w)');
      expect(stdout).toMatch(
        /^BertletError device webgpu: expected an adapter that computes right, got .*software.*, wrong on linear/,
      );
      expect(status).toBe(0);
    });
  });
});

describe('a device that goes away', () => {
  const open = async () => {
    const { device, gpuDevice } = await startWithGpuDevice({ int8: false });
    const runtime = new Runtime(device);
    const layer = runtime.linearLayer(normal([8, 8], 1), constant([8], 0)); // no attention: it takes seconds to compile
    const x = runtime.tensor(normal([20, 8], 2));
    const forward = () => runtime.read(runtime.linear(x, layer));
    await forward();
    return { device, gpuDevice, forward };
  };
  test('lost in the middle of a run: that run fails, and so do later ones', async () => {
    const { device, gpuDevice, forward } = await open();
    const run = forward();
    gpuDevice.destroy();
    const message =
      /webgpu, .*software.*: expected a device that computes, got a device that is lost \(.*[^.]\)\. Load the model again/;
    await expectError('device', message, () => run);
    await expectError('device', message, forward);
    await device.dispose();
  });
  test('disposed of in the middle of a run', async () => {
    const { device, forward } = await open();
    const run = forward();
    await device.dispose();
    await device.dispose();
    expect(device.bytes).toBe(0);
    await expectError('disposed', /got none after dispose\(\)/, () => run);
    await expectError('disposed', /got none after dispose\(\)/, forward);
  });
  test('an error that no call reports is reported by the next', async () => {
    const { device, gpuDevice, forward } = await open();
    gpuDevice.createBuffer({ size: 4, usage: 0xffff });
    await gpuDevice.queue.onSubmittedWorkDone();
    await expectError('device', /got an error \([\s\S]*\)\. Load the model again/, forward);
    await device.dispose();
  });
});

describe('as a process', () => {
  const gpu = load("device: 'webgpu', dtype: 'fp32'");
  test.each([
    [
      'created and disposed of twice, once after an answer and once during it',
      `{ ${gpu} await qa.answer(ask); await qa.dispose(); }
       { ${gpu} const answer = qa.answer(ask); await qa.dispose(); await answer; console.log('end'); }`,
    ],
    ['not disposed of', `${gpu} await qa.answer(ask); console.log('end');`],
    ['an answer under way, and nobody waits', `${gpu} qa.answer(ask).then(() => console.log('end'));`],
  ])('%s: ends by itself with code 0', (_, body) => {
    const { status, stdout } = runScript(body);
    expect([status, stdout]).toEqual([0, 'end\n']);
  });
  test('an error that nobody catches: code 1, no crash', () => {
    const { status, stdout, stderr } = runScript(
      `${gpu} console.log('loaded'); await qa.answer({ question: '', context: 'x' });`,
    );
    expect([status, stdout]).toEqual([1, 'loaded\n']);
    expect(stderr).toMatch(/BertletError: question: expected words/);
  });
});
