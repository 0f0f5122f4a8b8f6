/** The model lives in a worker: the page stays free while it is loaded and while it answers. */
import { load, type Question } from 'bertlet';

const model = load(new URL('/minilm-l6-qa', self.location.origin), {
  onProgress: ({ loaded, total }) => postMessage({ text: `loading ${Math.round((100 * loaded) / total)} %` }),
});

addEventListener('message', async ({ data }: MessageEvent<Question>) => {
  try {
    const [{ text, confidence, noAnswer }] = await (await model).answer(data);
    postMessage({ text: `${noAnswer ? 'The passage does not say' : text} (${Math.round(100 * confidence)} %)` });
  } catch (error) {
    postMessage({ text: (error as Error).message });
  }
});
