// Three people's work from beginning to end: the county's IT from the fault to its ticket, the contractor with a
// phone in the stairwell, the school with its log of the day. Each language has a county of its own, so that each
// story begins at its beginning.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import {
  assertAccessible,
  assertNarrow,
  book,
  follow,
  LANGUAGES,
  openWindow,
  startBrowser,
  startCounty,
  VIEWS,
  visitor,
} from './stage.mjs';

const WORDS = {
  'zh-CN': {
    fault: '磁盘空间不足',
    free: '剩余',
    story: '经过',
    accept: '接单',
    arrive: '已到场',
    fix: '修复完成',
    told: ['开单', '接单', '到场', '修复'],
    messages: '推送记录',
    delivered: '已送达',
    totals: { used: '全天使用', on: '全天开机', noData: '暂无数据' },
    minutes: '分',
    memory: '内存',
    differs: '不符',
  },
  en: {
    fault: 'Disk nearly full',
    free: 'Free',
    story: 'What happened',
    accept: 'Accept',
    arrive: 'I am on site',
    fix: 'Repair done',
    told: ['Opened', 'Accepted', 'Arrived', 'Repaired'],
    messages: 'Told to the contractor',
    delivered: 'Delivered',
    totals: { used: 'Used, whole day', on: 'On, whole day', noData: 'No data yet' },
    minutes: 'min',
    memory: 'Memory',
    differs: 'Differs',
  },
};
const FAULTY_ROOM = '3号楼301';
/** What a note may have at most, and one character more. */
const TOO_LONG = '长'.repeat(513);
/** In slots of five minutes: one each for what was used, left alone and on, and one for what was not told. */
const YOUNG_DAY_MINUTES = 25;

let browser;

before(async () => {
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
});

for (const language of LANGUAGES) {
  describe(language, () => {
    const words = WORDS[language];
    let county;
    let storageState;

    before(async () => {
      county = await startCounty();
      storageState = await visitor(browser, county, language);
    });

    after(async () => {
      await county?.end();
    });

    async function newPage(t, options = {}) {
      const context = await openWindow(browser, county, { storageState, ...options });
      t.after(() => context.close());
      return context.newPage();
    }

    test("the county's IT goes from the fault to its ticket", async (t) => {
      const page = await newPage(t);
      const { faulty_set: set, ticket } = county.work;
      await page.goto('/overview');
      const figure = (address) => page.locator(`.figures a[href="${address}"]`);
      assert.equal(await figure('/faults').innerText(), '1');
      assert.equal(await figure('/tickets').innerText(), '1');
      await assertAccessible(page);

      await follow(page, () => figure('/faults').click());
      const row = page.locator('tbody tr');
      assert.equal(await row.count(), 1);
      assert.match(await row.innerText(), new RegExp(`${FAULTY_ROOM}[^]*${set}[^]*${ticket}`));
      await assertAccessible(page);

      await follow(page, () => row.getByRole('link', { name: words.fault }).click());
      assert.equal(await page.locator('h1').innerText(), words.fault);
      assert.match(await page.getByRole('region', { name: words.story }).innerText(), /128 MiB/);
      await assertAccessible(page);

      await follow(page, () => page.getByRole('link', { name: FAULTY_ROOM }).click());
      assert.match(await page.locator('h1').innerText(), new RegExp(FAULTY_ROOM));
      assert.match(await page.locator('#faults').innerText(), new RegExp(words.fault));
      await assertAccessible(page);

      await follow(page, () => page.locator('#work a').filter({ hasText: ticket }).click());
      assert.match(await page.locator('h1').innerText(), new RegExp(ticket));
      await assertAccessible(page);
    });

    test("the county's IT puts a set into a room and finds it there", async (t) => {
      const page = await newPage(t);
      const { unplaced_set: set, free_room: room } = county.work;
      await page.goto(`/sets/${set}`);
      await page.locator('#room').selectOption({ label: room });
      await follow(page, () => page.locator('#place button.primary').click());
      assert.equal(await page.getByRole('status').count(), 1, 'it is confirmed');
      assert.match(await page.locator('h1').innerText(), new RegExp(room));
      await page.goto('/sets');
      assert.match(await page.locator('tr').filter({ hasText: set }).innerText(), new RegExp(room));
    });

    test('the contractor mends with a phone, from acceptance to the note of the repair', async (t) => {
      const page = await newPage(t, VIEWS.phone);
      const { faulty_set: set, ticket } = county.work;
      const press = (name) => follow(page, () => page.getByRole('button', { name, exact: true }).click());
      const looksRight = async (where) => {
        await assertNarrow(page);
        await assertAccessible(page, where);
      };
      await page.goto(`/tickets/${ticket}`);
      const text = await page.locator('main').innerText();
      for (const part of ['测试小学', FAULTY_ROOM, set, words.fault, '128 MiB']) {
        assert.ok(text.includes(part), `"${part}" is not on the page:\n${text}`);
      }
      await looksRight('opened');
      await press(words.accept);
      await looksRight('accepted');
      await press(words.arrive);

      const note = page.getByRole('textbox', { name: /必填|required/ });
      const isRefused = async (text) => {
        assert.equal(await note.getAttribute('aria-invalid'), 'true');
        const problem = await page.locator(`#${await note.getAttribute('aria-describedby')}`).boundingBox();
        const field = await note.boundingBox();
        assert.ok(problem.y - (field.y + field.height) < 24, 'what is wrong stands below the field');
        assert.equal(await note.inputValue(), text, 'nothing typed is lost');
      };
      // A browser that does not hold back what is missing or too long.
      const send = async (text) => {
        await note.evaluate((field, value) => {
          field.form.noValidate = true;
          field.value = value;
        }, text);
        await press(words.fix);
      };
      await send('');
      await isRefused('');
      await looksRight('without a note');
      await send(TOO_LONG);
      await isRefused(TOO_LONG);
      await note.fill('清理系统更新缓存，腾出空间');
      await press(words.fix);

      const story = page.getByRole('region', { name: words.story });
      assert.deepEqual(await story.locator('li strong').allInnerTexts(), words.told);
      assert.match(await story.innerText(), /清理系统更新缓存/);
      const messages = await page.getByRole('region', { name: words.messages }).innerText();
      assert.ok(messages.includes(words.delivered), messages);
      await looksRight('fixed');
    });

    test('the school sees on its log of the day what was used, and what nobody knows yet', async (t) => {
      if (minutesOfCountyDay() < YOUNG_DAY_MINUTES) return t.skip('the day is too young to tell of');
      const page = await newPage(t);
      await page.goto('/usage');
      // It was put into its room a moment ago; what it tells of was before that, in no room, which comes last.
      const row = page.locator('tbody tr').filter({ hasText: county.work.used_set }).last();
      const minutes = async (label) => {
        const text = await row.locator(`td[data-label="${label}"]`).innerText();
        assert.match(text, new RegExp(`\\d+ ${words.minutes}$`));
        return parseInt(text.match(/\d+/)[0]);
      };
      const [used, on, noData] = [
        await minutes(words.totals.used),
        await minutes(words.totals.on),
        await minutes(words.totals.noData),
      ];
      assert.ok(used > 0 && used < on, `used for ${used} of ${on} minutes`);
      assert.ok(noData > 0, 'what was not told is not "not used"');
      await assertAccessible(page);
      await page.setViewportSize(VIEWS.phone.viewport);
      await assertNarrow(page);
    });

    test('what is booked stands beside what was measured, and the difference is named', async (t) => {
      book(county, county.work.unplaced_set);
      const page = await newPage(t);
      await page.goto(`/sets/${county.work.unplaced_set}`);
      const row = page.locator('#booked tbody tr').filter({ hasText: words.memory });
      assert.match(await row.innerText(), new RegExp(`64 GiB[^]*\\b2 GiB[^]*${words.differs}`));
      await assertAccessible(page);
      await page.setViewportSize(VIEWS.phone.viewport);
      await assertNarrow(page);
    });
  });
}

/** Of the county's day, which begins at midnight of UTC+8. */
function minutesOfCountyDay() {
  return (Math.floor(Date.now() / 60_000) + 8 * 60) % (24 * 60);
}
