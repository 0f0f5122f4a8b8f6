/** `npx node scripts/picture.ts`: docs/page.png, the page (dist-web) when it has answered the article's question and measured itself: on a quiet machine. */
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { pageServer } from '../bench/pageServer.ts';
import { headlessChromium } from './driver.ts';

const ROOT = join(import.meta.dirname, '..');
const server = await pageServer(join(ROOT, 'dist-web'), { isolated: true });
const browser = await chromium.launch(headlessChromium() as Parameters<typeof chromium.launch>[0]);
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  await page.goto(server.url);
  await page.locator('#pace', { hasText: 'int8' }).waitFor();
  const { y, height } = (await page.locator('.columns').first().boundingBox())!;
  await page.setViewportSize({ width: 1280, height: Math.ceil(y + height + 32) });
  await page.screenshot({ path: join(ROOT, 'docs', 'page.png') });
} finally {
  await browser.close();
  server.close();
}
