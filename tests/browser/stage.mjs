// What a browser test stands on: a real county with this machine as its device, and Debian's Chromium.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

// Far above what an idle machine needs for a page; this one may be busy.
const PAGE_DEADLINE_MS = 20_000;

/** Starts a county with a real agent; resolves when the county holds the agent's first report. */
export async function startCounty() {
  const programs = process.env.BBT_PROGRAMS ?? path.join(repository, 'target/debug');
  const child = spawn(path.join(programs, 'county'), ['--agent'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    ended.then(([code]) => {
      throw new Error(`the county ended with ${code} before it was ready; its words stand above`);
    }),
  ]);
  return {
    ...JSON.parse(line),
    // It ends with its standard input, and so it does when this process dies.
    async end() {
      child.stdin.end();
      await ended;
    },
  };
}

export async function startBrowser() {
  const executablePath = [process.env.BBT_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'].find(
    (candidate) => candidate && existsSync(candidate),
  );
  if (!executablePath) {
    throw new Error('no Chromium: `apt-get install chromium`, or name one in BBT_CHROMIUM');
  }
  return chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** One person's browser, set to Chinese: its own cookies, its own window. */
export async function openWindow(browser, county, options = {}) {
  const context = await browser.newContext({
    baseURL: county.console,
    locale: 'zh-CN',
    viewport: { width: 1366, height: 768 },
    // The county's root is in nobody's store. That its certificates are right is tested by the gRPC client
    // and the integration tests; here it would only hide the page.
    ignoreHTTPSErrors: true,
    ...options,
  });
  context.setDefaultTimeout(PAGE_DEADLINE_MS);
  return context;
}

export async function signIn(page, county, password = county.password) {
  await page.goto('/login');
  await page.locator('input[name="login"]').fill(county.user);
  await page.locator('input[name="password"]').fill(password);
  await Promise.all([page.waitForNavigation(), page.locator('input[name="password"]').press('Enter')]);
}

/** Chooses a language (`zh-CN` or `en`) by the page's own form. */
export async function choose(page, language) {
  const current = await page.locator('html').getAttribute('lang');
  if (current === language) return;
  const name = language === 'en' ? /English/i : /中文/;
  await Promise.all([page.waitForNavigation(), page.getByRole('button', { name }).first().click()]);
}
