/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/** The console in a real browser, over a real cluster. With CAIRN_SCREENSHOTS=FOLDER it leaves pictures there. */
import test from 'ava'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { openBrowser } from '../support/browser.js'
import { cairn, Cluster } from '../support/cluster.js'
import { descendants, kill9 } from '../support/processes.js'

/** No text of a file system: it would be a tag, ends a line, and is not UTF-8. */
const oddName = Buffer.from('<img src=x onerror=document.title=1>\n\xff', 'latin1')
const content = 'what the blocks hold\n'.repeat(20_000)
const pictures = process.env['CAIRN_SCREENSHOTS']

let cluster: Cluster
let browser: Browser
/** What was started, the newest last. */
const started: (() => Promise<void>)[] = []
let site = ''

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

test.before(async () => {
  const address = `127.0.0.1:${String(await freePort())}`
  site = `http://${address}/`
  cluster = await Cluster.start({ chunkservers: 3, console: address })
  started.push(() => cluster.dispose())
  mkdirSync(join(cluster.mount, 'folder'))
  writeFileSync(join(cluster.mount, 'folder', 'a file'), content)
  writeFileSync(Buffer.concat([Buffer.from(`${cluster.mount}/folder/`), oddName]), 'odd')
  await cairn(['sync', cluster.mount])
  browser = await openBrowser()
  started.push(() => browser.close())
})

test.after.always(async () => {
  for (const stop of started.reverse()) await stop()
})

interface Opened {
  readonly page: Page
  /** What went wrong in it, and what it asked of anybody else. */
  readonly wrong: string[]
}

async function open(place: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options })
  const page = await context.newPage()
  const wrong: string[] = []
  page.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning') wrong.push(message.text())
  })
  page.on('pageerror', error => wrong.push(String(error)))
  page.on('request', request => {
    if (!request.url().startsWith(site)) wrong.push(`asks ${request.url()}`)
  })
  page.on('response', response => {
    if (response.status() >= 400) wrong.push(`${response.url()}: ${String(response.status())}`)
  })
  await page.goto(`${site}${place}`)
  return { page, wrong }
}

const picture = async (page: Page, name: string): Promise<void> => {
  if (pictures !== undefined) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true })
}

const sizes = [
  ['wide', { width: 1440, height: 900 }],
  ['phone', { width: 390, height: 844 }],
] as const
const schemes = ['light', 'dark'] as const
const views = ['overview', 'nodes', 'work', 'mounts', 'files', 'files/folder', 'files/folder/a%20file']

for (const [size, viewport] of sizes)
  for (const colorScheme of schemes)
    test.serial(
      `every view fits on a ${size} screen, ${colorScheme}, and nothing in it goes wrong`,
      async t => {
        const { page, wrong } = await open('', { viewport, colorScheme })
        await page.getByText('cluster ', { exact: false }).first().waitFor()
        for (const view of views) {
          await page.evaluate(to => {
            window.location.hash = `#/${to}`
          }, view)
          await page.locator('main h2').first().waitFor()
          if (view === 'overview') {
            await page.locator('.canvas canvas').first().waitFor()
            await page.getByText(/^calls of mounts (?!–)/).waitFor()
          }
          if (view.startsWith('files')) await page.locator('main table').first().waitFor()
          const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
          t.true(wider <= 0, `${view} is ${String(wider)} pixels too wide`)
          t.true(await page.evaluate(() => document.title.startsWith('ok · ')), await page.title())
          await picture(page, `${view.replaceAll(/[/%]/g, '-')}-${size}-${colorScheme}`)
        }
        t.deepEqual(wrong, [])
        await page.context().close()
      },
    )

test.serial('it shows health, the nodes, the mount, and where each block of a file lives', async t => {
  const { page, wrong } = await open('')
  await page.getByRole('status').getByText('ok').waitFor()
  t.is(await page.getByText('3 of 3 up').count(), 1)

  await page.getByRole('link', { name: 'Nodes', exact: true }).click()
  await page.getByRole('heading', { name: 'Nodes and disks' }).waitFor()
  const { nodes } = await cluster.json<{ nodes: { address: string }[] }>('status')
  for (const { address } of nodes) t.is(await page.getByRole('cell', { name: address }).count(), 1)
  t.is(await page.getByRole('meter').count(), 3)

  await page.getByRole('link', { name: 'Mounts' }).click()
  await page.getByRole('heading', { name: 'Mounts' }).waitFor()
  t.is(await page.getByRole('cell', { name: cluster.mount, exact: true }).count(), 1)

  await page.getByRole('link', { name: 'Repair and scrub' }).click()
  await page.getByText('No block waits for a copy.').waitFor()

  await page.getByRole('link', { name: 'Files' }).click()
  await page.getByRole('link', { name: 'folder' }).click()
  await page.getByRole('link', { name: 'a file' }).click()
  await page.getByRole('heading', { name: 'Where its blocks are' }).waitFor()
  const info = await cluster.json<{ extents: { block: string; copies: { node: number }[] }[] }>(
    'info',
    join(cluster.mount, 'folder', 'a file'),
  )
  t.true(info.extents.length > 0)
  for (const { block, copies } of info.extents) {
    const row = page.getByRole('row').filter({ hasText: block.slice(0, 12) })
    t.is(copies.length, 3)
    for (const { node } of copies)
      t.is(await row.getByRole('link', { name: `node ${String(node)}`, exact: true }).count(), 1)
    t.is(await row.getByText('3 of 3').count(), 1)
  }
  t.deepEqual(wrong, [])
  await page.context().close()
})

test.serial('a name that is no text is shown, leads to its file, and does nothing', async t => {
  const { page, wrong } = await open('#/files/folder')
  const link = page.getByRole('link', { name: '<img src=x onerror=document.title=1>\\u{000a}\\xff' })
  await link.click()
  await page.getByRole('heading', { name: 'Where its blocks are' }).waitFor()
  await page.getByText('3 bytes').first().waitFor()
  t.is(await page.locator('main img').count(), 0)
  t.not(await page.title(), '1')
  t.deepEqual(wrong, [])
  await page.context().close()
})

test.serial('it can be used with the keyboard alone, and has names for those who cannot see it', async t => {
  const { page } = await open('')
  await page.getByRole('status').getByText('ok').waitFor()
  const focused = () => page.evaluate(() => document.activeElement?.textContent.trim() ?? '')
  await page.keyboard.press('Tab')
  t.is(await focused(), 'Skip to the content')
  await page.keyboard.press('Enter')
  t.is(await page.evaluate(() => document.activeElement?.id), 'main')
  await page.keyboard.press('Shift+Tab')
  t.is(await focused(), 'Files')
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'folder' }).waitFor()
  t.is(await page.evaluate(() => document.activeElement?.id), 'main', 'the view has the focus')
  for (let presses = 0; (await focused()) !== 'folder' && presses < 10; presses++)
    await page.keyboard.press('Tab')
  t.is(await focused(), 'folder')
  const outline = await page.evaluate(() => {
    const { activeElement } = document
    return activeElement === null ? '' : getComputedStyle(activeElement).outlineStyle
  })
  t.is(outline, 'solid', 'it is seen where one is')
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'a file' }).waitFor()

  // The button goes from the system's colours to light and dark, and the page keeps it.
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const light = await ground()
  await page.getByRole('button', { name: 'Colours: auto' }).focus()
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Colours: light' }).waitFor()
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Colours: dark' }).waitFor()
  t.not(await ground(), light)
  await page.reload()
  await page.getByRole('button', { name: 'Colours: dark' }).waitFor()
  t.not(await ground(), light)

  for (const view of views) {
    await page.evaluate(to => {
      window.location.hash = `#/${to}`
    }, view)
    await page.locator('main h2').first().waitFor()
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll('a, button, [role=meter], [role=progressbar], nav, main, img')]
        .filter(element => {
          const label = element.getAttribute('aria-label') ?? element.textContent
          return label.trim() === '' && element.getAttribute('alt') !== ''
        })
        .map(element => element.outerHTML),
    )
    t.deepEqual(nameless, [], view)
    t.is(await page.locator('h1').count(), 1)
  }
  await page.context().close()
})

test.serial('text can be read: its contrast with what is behind it is at least 4.5 to 1', async t => {
  for (const colorScheme of schemes) {
    const { page } = await open('', { colorScheme })
    await page.getByRole('status').getByText('ok').waitFor()
    for (const view of views) {
      await page.evaluate(to => {
        window.location.hash = `#/${to}`
      }, view)
      await page.locator('main h2').first().waitFor()
      const faint = await page.evaluate(contrastsBelow, 4.5)
      t.deepEqual(faint, [], `${view}, ${colorScheme}`)
    }
    await page.context().close()
  }
})

/** Runs in the page. */
function contrastsBelow(least: number): string[] {
  const parse = (text: string) => (text.match(/[\d.]+/g) ?? []).map(Number)
  const luminance = (colour: number[]) => {
    const [r = 0, g = 0, b = 0] = colour.slice(0, 3).map(value => {
      const part = value / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element: Element | null): number[] => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor)
      if ((colour[3] ?? 1) > 0) return colour
    }
    return [255, 255, 255]
  }
  const found: string[] = []
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walk.nextNode(); node !== null; node = walk.nextNode()) {
    const element = node.parentElement
    if (element === null || (node.textContent ?? '').trim() === '' || element.closest('noscript') !== null)
      continue
    const pair = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))].sort(
      (a, b) => b - a,
    )
    const ratio = ((pair[0] ?? 0) + 0.05) / ((pair[1] ?? 0) + 0.05)
    if (ratio < least) found.push(`${(node.textContent ?? '').trim()}: ${ratio.toFixed(2)}`)
  }
  return found
}

// The last: the cluster is not well afterwards.
test.serial('a node that goes down is shown with what to do next, while the page is open', async t => {
  const { page } = await open('')
  await page.getByRole('status').getByText('ok').waitFor()
  const { pid } = JSON.parse(readFileSync(join(cluster.dir, 'running.json'), 'utf8')) as { pid: number }
  const node = descendants(pid).find(({ command }) => command.includes(join(cluster.dir, 'chunkserver-1')))
  if (node === undefined) throw new Error('no chunkserver')
  kill9(node.pid)
  await page.getByRole('status').getByText('degraded').waitFor()
  const finding = page
    .getByRole('listitem')
    .filter({ hasText: /^\S+ chunkserver \d+ .* is down/ })
    .first()
  await finding.getByText('cairn node remove').waitFor()
  await picture(page, 'degraded-wide-light')
  await page.setViewportSize({ width: 390, height: 844 })
  await picture(page, 'degraded-phone-light')
  await page.getByRole('link', { name: 'Nodes', exact: true }).click()
  await page.getByRole('heading', { name: 'Nodes and disks' }).waitFor()
  t.is(await page.getByRole('cell').getByText('down', { exact: true }).count(), 1)
  await page.context().close()
})
