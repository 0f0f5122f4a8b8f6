/**
 * The GPU device, on a software adapter: all in one file and so in one process, because SwiftShader takes seconds to
 * compile a kernel, and a kernel is compiled once for a GPU device. The tests in test/webgpu share one.
 */
import { shareGpuDevice } from './gpu.ts';
import './webgpu/kernels.ts';
import './webgpu/runtime.ts';
import './webgpu/models.ts';
import './webgpu/batch.ts';
import './webgpu/checkpoint.ts';

shareGpuDevice();
