/** The files of the page, which the build has put beside this one, read once and known by name: nothing else is served. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

export interface PageFile {
  readonly type: string
  readonly bytes: Buffer
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

export class PageFiles {
  readonly #files = new Map<string, PageFile>()
  /** What the page may do: nothing but its own files and questions to where it came from. */
  readonly policy: string

  constructor(folder: URL) {
    const root = folder.pathname
    for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
      const type = types[path.extname(name)]
      if (type !== undefined)
        this.#files.set(`/${name}`, { type, bytes: readFileSync(path.join(root, name)) })
    }
    const index = this.#files.get('/index.html')
    if (index === undefined) throw new Error(`${root} has no index.html: it was not built`)
    this.#files.set('/', index)
    this.policy = [
      "default-src 'none'",
      // The import map stands in the page itself.
      `script-src 'self' ${inlineScripts(index.bytes.toString()).map(hashOf).join(' ')}`,
      "style-src 'self'",
      "img-src 'self'",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; ')
  }

  find(name: string): PageFile | undefined {
    return this.#files.get(name)
  }
}

function inlineScripts(html: string): string[] {
  return [...html.matchAll(/<script type="importmap">([\s\S]*?)<\/script>/g)].map(([, text]) => text ?? '')
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
