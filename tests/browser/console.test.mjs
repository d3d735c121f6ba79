// The console page by page, as a person meets it: this machine's own report among a county at work.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import {
  assertAccessible,
  assertNarrow,
  book,
  choose,
  follow,
  LANGUAGES,
  openWindow,
  repository,
  signIn,
  startBrowser,
  startCounty,
  VIEWS,
  visitor,
} from './stage.mjs';

/** Pages with a picture in the documents. Only those of the README are there in dark, too. */
const PICTURES = {
  login: ['office', 'phone', 'dark'],
  overview: ['office', 'phone'],
  sets: ['office', 'phone'],
  set: ['office', 'phone'],
  devices: ['office', 'phone', 'dark'],
  device: ['office', 'phone', 'dark'],
  faults: ['office', 'phone'],
  ticket: ['office', 'phone'],
  usage: ['office', 'phone'],
};
/** Of a long page a picture shows so many windows: what follows adds bytes and tells little. */
const PICTURE_WINDOWS = 2;

let county;
let browser;
// What the browser of an administrator who has signed in once remembers.
let signedIn;

before(async () => {
  county = await startCounty();
  book(county, county.machine);
  browser = await startBrowser();
  signedIn = await visitor(browser, county, 'zh-CN');
});

after(async () => {
  await browser?.close();
  await county?.end();
});

/** A window for one test, closed after it; `options.storageState` of nobody when given as undefined. */
async function newPage(t, options = {}) {
  const context = await openWindow(browser, county, { storageState: signedIn, ...options });
  t.after(() => context.close());
  return context.newPage();
}

async function openDevice(page) {
  await page.goto(`/devices/${county.device.id}`);
}

async function openSchool(page) {
  await page.goto('/schools');
  await follow(page, () => page.locator('a.row-link').first().click());
}

async function openFault(page) {
  await page.goto('/faults');
  await follow(page, () => page.locator('a.row-link').first().click());
}

/** Every page that can be looked at, by name. */
const PAGES = {
  login: { open: (page) => page.goto('/login'), storageState: undefined },
  overview: { open: (page) => page.goto('/overview') },
  sets: { open: (page) => page.goto('/sets') },
  set: { open: (page) => page.goto(`/sets/${county.machine}`) },
  usage: { open: (page) => page.goto('/usage') },
  schools: { open: (page) => page.goto('/schools') },
  school: { open: openSchool },
  devices: { open: (page) => page.goto('/devices') },
  device: { open: openDevice },
  faults: { open: (page) => page.goto('/faults') },
  fault: { open: openFault },
  inquiries: { open: (page) => page.goto('/inquiries') },
  tickets: { open: (page) => page.goto('/tickets') },
  ticket: { open: (page) => page.goto(`/tickets/${county.work.ticket}`) },
  admissions: { open: (page) => page.goto('/admissions') },
  refusals: { open: (page) => page.goto('/refusals') },
  missing: { open: (page) => page.goto('/nothing-is-here') },
};

async function open(t, name, language, options = {}) {
  const { open: go, ...own } = PAGES[name];
  const page = await newPage(t, { ...own, ...options });
  await go(page);
  if ((await page.locator('html').getAttribute('lang')) !== language) {
    // The form leads back to most pages, but not to all.
    await choose(page, language);
    await go(page);
  }
  assert.equal(await page.locator('html').getAttribute('lang'), language);
  return page;
}

/** The processor's name as the kernel tells it; undefined where it has none. */
function processorName() {
  const line = readFileSync('/proc/cpuinfo', 'utf8').match(/^model name\s*:\s*(.+)$/m);
  return line?.[1].trim();
}

const folded = (text) => text.replace(/\s+/g, ' ');

test('who has not signed in is shown the door, in Chinese', async (t) => {
  const page = await newPage(t, { storageState: undefined });
  await page.goto('/devices');
  assert.equal(new URL(page.url()).pathname, '/login');
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
});

test('a wrong password is refused with a message', async (t) => {
  const page = await newPage(t, { storageState: undefined });
  await signIn(page, county, 'not-the-password');
  assert.equal(new URL(page.url()).pathname, '/login');
  assert.notEqual((await page.getByRole('alert').first().innerText()).trim(), '');
});

test('this machine is in the list, and its page names its processor', async (t) => {
  const page = await newPage(t);
  await page.goto('/devices');
  assert.ok((await page.locator('body').innerText()).includes(os.hostname()), 'the list names this machine');
  await follow(page, () => page.locator('a[href^="/devices/"]').filter({ hasText: os.hostname() }).click());
  assert.equal(new URL(page.url()).pathname, `/devices/${county.device.id}`);
  const text = folded(await page.locator('body').innerText());
  const wanted = processorName();
  if (wanted) assert.ok(text.includes(folded(wanted)), `"${wanted}" is not on the page:\n${text}`);
});

test('the language can be changed and stays changed', async (t) => {
  const page = await newPage(t);
  await page.goto('/devices');
  await choose(page, 'en');
  assert.equal(await page.locator('html').getAttribute('lang'), 'en');
  await page.goto('/refusals');
  assert.equal(await page.locator('html').getAttribute('lang'), 'en');
  await choose(page, 'zh-CN');
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
});

test('everything works without scripts', async (t) => {
  const page = await newPage(t, { storageState: undefined, javaScriptEnabled: false });
  await signIn(page, county);
  await choose(page, 'en');
  assert.equal(await page.locator('html').getAttribute('lang'), 'en');
  await openDevice(page);
  assert.ok((await page.locator('body').innerText()).includes(os.hostname()));
});

test('a set is put into a new room, sealed and put into use again, by keyboard and without scripts', async (t) => {
  const page = await newPage(t, { javaScriptEnabled: false });
  const submit = (key) => follow(page, () => page.keyboard.press(key));
  await openSchool(page);
  await page.locator('#name').fill('3号楼201');
  await page.locator('#name').focus();
  await submit('Enter');
  assert.equal(await page.getByRole('status').count(), 1, 'it is confirmed');
  await page.goto(`/sets/${county.machine}`);
  await page.locator('#room').selectOption({ label: '3号楼201' });
  await page.locator('#place button').focus();
  await submit('Enter');
  assert.match(await page.locator('h1').innerText(), /3号楼201/);
  await page.locator('#standing summary').focus();
  await page.keyboard.press('Enter');
  await page.locator('#reason').fill('等待搬迁');
  await page.locator('#reason').focus();
  await submit('Enter');
  assert.match(await page.locator('#standing').innerText(), /等待搬迁/);
  await page.locator('#standing button').focus();
  await submit('Enter');
  assert.equal(await page.locator('#reason').count(), 1, 'it can be sealed again');
});

test('a form that was not taken says so where one looks', async (t) => {
  const page = await newPage(t);
  await openSchool(page);
  await page.locator('#name').fill('a/b');
  await follow(page, () => page.locator('#add button').click());
  const alert = page.getByRole('alert');
  assert.match(await alert.innerText(), /a\/b/);
  const { y } = await alert.boundingBox();
  assert.ok(y >= 0 && y < 768, `the message is in sight, at ${y}`);
});

test('who signs out is out', async (t) => {
  const page = await newPage(t, { storageState: undefined });
  await signIn(page, county);
  await page.goto('/devices');
  await follow(page, () => page.locator('form[action="/logout"] button').first().click());
  await page.goto('/devices');
  assert.equal(new URL(page.url()).pathname, '/login');
});

test('a page that does not exist says so and leads on', async (t) => {
  const page = await newPage(t);
  const answer = await page.goto('/nothing-is-here');
  assert.equal(answer.status(), 404);
  assert.ok((await page.locator('main a[href]').count()) > 0, 'there is a way on');
  const device = await page.goto('/devices/00000000-0000-7000-8000-000000000000');
  assert.equal(device.status(), 404);
});

test('nothing comes from elsewhere, and no page complains', async (t) => {
  const page = await newPage(t);
  const foreign = [];
  const complaints = [];
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol !== 'data:' && origin !== county.console) foreign.push(request.url());
  });
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  for (const [name, { open: go }] of Object.entries(PAGES)) {
    if (name !== 'missing') await go(page); // whose status Chromium itself reports as an error
  }
  assert.deepEqual({ foreign, complaints }, { foreign: [], complaints: [] });
});

// Language by language: an account has one, and to change it takes time.
for (const language of LANGUAGES) {
  for (const name of Object.keys(PAGES)) {
    test(`axe finds nothing serious: ${name}, ${language}`, async (t) => {
      const page = await open(t, name, language);
      await assertAccessible(page, 'light');
      await page.emulateMedia({ colorScheme: 'dark' });
      // Only the colours are others.
      await assertAccessible(page, 'dark', ['color-contrast']);
    });

    test(`nothing is wider than a phone: ${name}, ${language}`, async (t) => {
      const page = await open(t, name, language, VIEWS.phone);
      await assertNarrow(page);
    });
  }
}

test('the style sheet closes what it opens', async (t) => {
  const page = await newPage(t);
  await page.goto('/overview');
  const address = await page.locator('link[rel="stylesheet"]').first().getAttribute('href');
  const text = await (await page.request.get(address)).text();
  // A browser closes at the end what was forgotten in the middle, and the rest is part of it.
  assert.equal(text.split('{').length, text.split('}').length);
});

test('the pictures of the documents can be taken', async (t) => {
  const folders = [path.join(repository, 'tests/out/screenshots')];
  if (process.env.BBT_SCREENSHOTS === '1') folders.push(path.join(repository, 'deploy/docs/screenshots'));
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  for (const language of LANGUAGES) {
    for (const [name, views] of Object.entries(PICTURES)) {
      for (const view of views) {
        const page = await open(t, name, language, VIEWS[view]);
        const picture = await takePicture(page, VIEWS[view]);
        for (const folder of folders) writeFileSync(path.join(folder, `${name}-${language}-${view}.png`), picture);
      }
    }
  }
});

async function takePicture(page, { viewport: { width, height } }) {
  const whole = await page.evaluate(() => document.documentElement.scrollHeight);
  const clip = { x: 0, y: 0, width, height: Math.max(height, Math.min(whole, PICTURE_WINDOWS * height)) };
  return page.screenshot({ fullPage: true, clip });
}
