import { type Browser, chromium } from 'playwright-core'

/** Debian's. */
const program = '/usr/bin/chromium'

/** A real browser, without a window, that speaks with nobody by itself. Close it in teardown. */
export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: program,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}
