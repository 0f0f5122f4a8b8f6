/** The host of the steps in WGSL: Dawn, as the package `webgpu` brings it to Node. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, globals } from 'webgpu';
import type { Problem } from './wasm.ts';

const { GPUBufferUsage, GPUMapMode } = globals as unknown as typeof globalThis;
/** A workgroup's columns and rows of y. */
const TILES: Record<string, number> = { 'gpu-1-loop': 8, 'gpu-2-tile': 32, 'gpu-3-packed': 32 };
const kept: unknown[] = []; // Dawn's devices need the object that they come from, and hold no reference to it

/** Opens an adapter, the one whose name has BERTLET_ADAPTER in it if there is such a variable. */
export async function openGpu() {
  const wanted = process.env.BERTLET_ADAPTER;
  const gpu = create(wanted ? [`adapter=${wanted}`] : []);
  kept.push(gpu);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('expected a GPU adapter, got none');
  const { vendor, architecture, description, device: name } = adapter.info;
  return { device: await adapter.requestDevice(), adapter: `${vendor} ${architecture} ${description || name}`.trim() };
}

/**
 * Uploads a problem and compiles a step.
 * @param edit changes the text first: for the test that breaks a step and sees it found
 */
export async function prepareGpu(
  device: GPUDevice,
  name: string,
  { x, w, tokens, features, out, zeroPoint }: Problem,
  edit = (text: string) => text,
) {
  const code = edit(readFileSync(join(import.meta.dirname, `${name}.wgsl`), 'utf8'));
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
  const { STORAGE, UNIFORM, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
  const upload = (
    data: Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> | Int32Array<ArrayBuffer>,
    usage = STORAGE,
  ) => {
    const buffer = device.createBuffer({ size: data.byteLength, usage: usage | COPY_DST });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  const sums = new Int32Array(out);
  for (let i = 0; i < w.length; i++) sums[Math.floor(i / features)]! += w[i]!;
  const y = device.createBuffer({ size: 4 * tokens * out, usage: STORAGE | COPY_SRC });
  const staging = device.createBuffer({ size: y.size, usage: COPY_DST | MAP_READ });
  const sizes = upload(Int32Array.of(tokens, features, out, zeroPoint), UNIFORM);
  const buffers = [sizes, upload(x.slice()), upload(w.slice()), upload(sums), y];
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  return {
    /** Computes y some times, one after another. */
    async run(times: number) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < times; i++) pass.dispatchWorkgroups(out / TILES[name]!, tokens / TILES[name]!);
      pass.end();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
    },
    async result() {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(y, 0, staging, 0, y.size);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ);
      const values = new Int32Array(staging.getMappedRange()).slice();
      staging.unmap();
      return values;
    },
    close() {
      for (const buffer of [...buffers, staging]) buffer.destroy();
    },
  };
}
