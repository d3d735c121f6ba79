// What a browser test stands on: a real county at work, with this machine as one of its devices, and Debian's
// Chromium.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

export const LANGUAGES = ['zh-CN', 'en'];

export const VIEWS = {
  office: { viewport: { width: 1366, height: 768 } },
  phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
  dark: { viewport: { width: 1366, height: 768 }, colorScheme: 'dark' },
};

const programs = process.env.BBT_PROGRAMS ?? path.join(repository, 'target/debug');

// Far above what an idle machine needs for a page; this one may be busy.
const PAGE_DEADLINE_MS = 20_000;

/**
 * Starts a county at work with a real agent; resolves when the county holds the agent's first report and the
 * contractor was told of the one fault.
 */
export async function startCounty() {
  const child = spawn(path.join(programs, 'county'), ['--agent', '--at-work'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    ended.then(([code]) => {
      throw new Error(`the county ended with ${code} before it was ready; its words stand above`);
    }),
  ]);
  const description = JSON.parse(line);
  const { items: sets } = command(description, 'set', 'list');
  const isThisMachine = ({ devices }) => devices.some(({ id }) => id === description.device.id);
  return {
    ...description,
    /** The code of this machine's set. */
    machine: sets.find(isThisMachine).code,
    // It ends with its standard input, and so it does when this process dies.
    async end() {
      child.stdin.end();
      await ended;
    },
  };
}

/** Asks the running controller by its command line. */
export function command(county, ...words) {
  const controller = path.join(programs, 'bbt-controller');
  const answer = execFileSync(controller, [...words, '--json'], {
    env: { ...process.env, BBT_CONTROLLER_DATA: county.data },
  });
  return JSON.parse(answer);
}

/** Books a computer with far more memory than any classroom's as part of `set`. */
export function book(county, set) {
  const asset = ['--no', 'ZC-2026-0001', '--name', '台式计算机', '--class', 'A02010105@2022'];
  const value = ['--cost-fen', '480000', '--date', '2026-09-01', '--memory', '64GiB'];
  return command(county, 'asset', 'add', ...asset, ...value, '--set', set);
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
    ...VIEWS.office,
    // The county's root is in nobody's store. That its certificates are right is tested by the gRPC client
    // and the integration tests; here it would only hide the page.
    ignoreHTTPSErrors: true,
    ...options,
  });
  context.setDefaultTimeout(PAGE_DEADLINE_MS);
  return context;
}

/** What the browser of somebody who signed in and chose `language` remembers. */
export async function visitor(browser, county, language) {
  const context = await openWindow(browser, county);
  const page = await context.newPage();
  await signIn(page, county);
  await choose(page, language);
  const state = await context.storageState();
  await context.close();
  return state;
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

/** Does what leads to another page, and waits for it. */
export async function follow(page, act) {
  await Promise.all([page.waitForNavigation(), act()]);
}

/** Fails with what axe finds serious on the page, by all rules or by those named in `only`. */
export async function assertAccessible(page, where, only) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(
    (runOnly) => globalThis.axe.run({ resultTypes: ['violations'], ...(runOnly && { runOnly }) }),
    only,
  );
  const serious = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id} (${help}): ${nodes.map((node) => node.html).join(' ')}`);
  assert.deepEqual(serious, [], where);
}

/** Fails when the page is wider than a phone's window, which `page` must be. */
export async function assertNarrow(page) {
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= VIEWS.phone.viewport.width, `the page is ${width} px wide`);
}
