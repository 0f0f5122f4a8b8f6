/** The start of the GPU device where something is not as usual: a GPU of `navigator`, and adapters that refuse or never answer. */
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { create } from 'webgpu';
import { constant } from '../kernels/op.ts';
import { startWebgpu } from '../src/devices/webgpu/start.ts';
import { load } from '../src/index.ts';
import { Runtime } from '../src/runtime.ts';
import { expectError, runScript, TINY } from './support.ts';

let dawn: GPU;
beforeAll(() => {
  dawn = create(['disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension']);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

type Asked = Parameters<GPU['requestAdapter']>[0];
interface Fake {
  /** What each call of requestAdapter returns; the last one counts for all that follow. */
  adapters?: (() => Promise<object | null>)[];
  adapter?: object;
  features?: Set<string>;
}
/** Puts a GPU into `navigator`, the real one but for what is given. Returns what is asked of it. */
function navigatorGpu({ adapters, adapter: changes = {}, features }: Fake = {}) {
  const asked: { adapter: Asked[]; device: (GPUDeviceDescriptor | undefined)[] } = { adapter: [], device: [] };
  const open = async () => {
    const real = (await dawn.requestAdapter())!;
    return {
      info: real.info,
      limits: real.limits,
      features: real.features,
      requestDevice: (descriptor?: GPUDeviceDescriptor) => real.requestDevice(descriptor),
      ...changes,
    };
  };
  const answers = adapters ?? [open];
  const gpu = {
    wgslLanguageFeatures: features ?? dawn.wgslLanguageFeatures,
    async requestAdapter(options: Asked) {
      asked.adapter.push(options);
      const adapter = (await (answers[asked.adapter.length - 1] ?? open)()) as GPUAdapter | null;
      if (!adapter) return null;
      const { requestDevice } = adapter;
      return {
        ...adapter,
        requestDevice(descriptor?: GPUDeviceDescriptor) {
          asked.device.push(descriptor);
          return requestDevice(descriptor);
        },
      };
    },
  };
  vi.stubGlobal('navigator', { ...navigator, hardwareConcurrency: 2, gpu });
  return asked;
}
/** Starts it, whatever adapter the environment names, computes something, and returns the adapter's name. */
async function startAndUse(): Promise<string> {
  const { device } = await startWebgpu({ adapter: '', int8: false });
  const rt = new Runtime(device);
  const y = rt.linear(rt.tensor(constant([2, 4], 1)), rt.linearLayer(constant([3, 4], 1), constant([3], 0)));
  expect([...(await rt.read(y))]).toEqual([4, 4, 4, 4, 4, 4]);
  await rt.dispose();
  return device.adapter;
}
const never = () => new Promise<never>(() => {});
/** Lets seconds pass at once. */
const hurry = () => {
  const { setTimeout } = globalThis;
  vi.stubGlobal('setTimeout', (run: () => void, ms = 0) => setTimeout(run, ms >= 5000 ? 1 : ms));
};

test('`navigator.gpu` is used where it is, as in Deno and Electron; an adapter by its name is Dawn alone', async () => {
  const asked = navigatorGpu();
  expect(await startAndUse()).toMatch(/\(software\)$/);
  expect(asked.adapter).toEqual([{ powerPreference: 'high-performance' }]);
  await expectError('device', /^webgpu: expected an adapter named nonesuch, got none \(/, () =>
    startWebgpu({ adapter: 'nonesuch' }),
  );
  expect(asked.adapter.length).toBe(1);
});

test('an adapter without `info`', async () => {
  navigatorGpu({ adapter: { info: undefined } });
  expect(await startAndUse()).toBe('unnamed adapter');
});

test('limits that are refused: the device has those of WebGPU', async () => {
  const real = async (descriptor?: GPUDeviceDescriptor) => (await dawn.requestAdapter())!.requestDevice(descriptor);
  const asked = navigatorGpu({
    adapter: {
      async requestDevice(descriptor: GPUDeviceDescriptor) {
        if (Object.keys(descriptor.requiredLimits ?? {}).length > 0) throw new Error('a limit that is not supported');
        return real(descriptor);
      },
    },
  });
  await startAndUse();
  expect(asked.device.map((descriptor) => Object.keys(descriptor!.requiredLimits!))).toEqual([
    ['maxBufferSize', 'maxStorageBufferBindingSize'],
    [],
  ]);
});
test('a device that is refused in any case', () => {
  navigatorGpu({ adapter: { requestDevice: async () => Promise.reject(new Error('out of order')) } });
  return expectError(
    'device',
    /^webgpu: expected a device, got none from .* \(out of order\)\. Use `cpu`\.$/,
    startAndUse,
  );
});

test('no adapter at first, and one when asked again', async () => {
  const asked = navigatorGpu({ adapters: [async () => null] });
  await startAndUse();
  expect(asked.adapter.length).toBe(2);
});
test('no adapter twice', () => {
  navigatorGpu({ adapters: [async () => null, async () => null] });
  return expectError('device', /^webgpu: expected an adapter, got none\. WebGPU needs /, startAndUse);
});

describe('no answer', () => {
  test('of requestAdapter: an error after some seconds; `auto` goes on and says so', async () => {
    hurry();
    navigatorGpu({ adapters: [never, never] });
    const message = /^webgpu: expected an adapter, got none \(no answer in 8 s\)\. Use `cpu`\.$/;
    await expectError('device', message, startAndUse);
    const qa = await load(TINY, { device: 'auto', dtype: 'fp32', threads: 1 });
    expect(qa.info.device).toBe('cpu');
    expect(qa.info.reason).toMatch(/no answer in 8 s.*; cpu is the fastest device that starts here/);
    await qa.dispose();
  });
  test('of requestDevice', () => {
    hurry();
    navigatorGpu({ adapter: { requestDevice: never } });
    return expectError('device', /got none from .* \(no answer in 8 s\)/, startAndUse);
  });
});

test('WGSL without packed integers: fp32 works, int8 is refused', async () => {
  navigatorGpu({ features: new Set() });
  await startAndUse();
  const message = /^webgpu: expected WGSL with packed_4x8_integer_dot_product, got one without\. Use fp32, or `cpu`\.$/;
  await expectError('device', message, () => startWebgpu({ adapter: '' }));
});

describe('neither package nor driver', () => {
  const refused = `await load(tiny, { device: 'webgpu', dtype: 'fp32' }).catch((error) => console.log(error.message));`;
  const noDriver = `const { dlopen } = process;
    process.dlopen = (module, file, ...rest) => {
      if (file === 'libvulkan.so.1') throw new Error('cannot open shared object file');
      return dlopen.call(process, module, file, ...rest);
    };`;
  const noPackage = `import { registerHooks } from 'node:module'; registerHooks({ resolve(name, context, next) {
    if (name === 'webgpu') throw new Error('no such package');
    return next(name, context);
  } });`;
  const driver = 'a Vulkan driver (`vulkaninfo` lists them)';
  test.skipIf(process.platform !== 'linux').each([
    [
      'both are named at once',
      noPackage + noDriver,
      `webgpu: expected the package \`webgpu\` and a Vulkan driver, got none that loads (no such package). Install it: \`npm install webgpu\`, and ${driver}. Or use \`cpu\`.\n`,
    ],
    ['no driver', noDriver, `webgpu: expected an adapter, got none. WebGPU needs ${driver}. Or use \`cpu\`.\n`],
  ])('%s', (_, body, message) => {
    expect(runScript(body + refused, { env: { BERTLET_ADAPTER: '' } })).toMatchObject({
      status: 0,
      stdout: message,
      stderr: '',
    });
  });
});
