import { useEffect, useState } from 'preact/hooks'
import type { ExtentsAnswer, FolderAnswer } from '../answers.ts'
import { ask, messageOf } from './ask.ts'
import { bytes, counted, moment, number } from './format.ts'
import { Card, Figures } from './parts.tsx'
import { type Column, Table } from './table.tsx'

type Entry = FolderAnswer['entries'][number]
type Extent = ExtentsAnswer['extents'][number]

/** `path`: as in the address of the page, each name percent-encoded: '', '/a', '/a/b%FF'. */
export function Files({ path }: { readonly path: string }) {
  const [found, setFound] = useState<FolderAnswer>()
  const [error, setError] = useState<string>()
  const [turn, setTurn] = useState(0)

  useEffect(() => {
    const left = new AbortController()
    setError(undefined)
    setFound(undefined)
    ask<FolderAnswer>(`folder?path=${path}`, left.signal).then(setFound, (thrown: unknown) => {
      if (!left.signal.aborted) setError(messageOf(thrown))
    })
    return () => {
      left.abort()
    }
  }, [path, turn])

  const more = async (after: string) => {
    try {
      const next = await ask<FolderAnswer>(`folder?path=${path}&after=${after}`)
      setFound(before =>
        before === undefined ? next : { ...next, entries: [...before.entries, ...next.entries] },
      )
    } catch (thrown) {
      setError(messageOf(thrown))
    }
  }

  return (
    <Card title="Files" wide>
      <div class="row">
        <Trail path={path} shown={found?.path} />
        <button
          type="button"
          onClick={() => {
            setTurn(turn + 1)
          }}
        >
          Look again
        </button>
      </div>
      {error !== undefined && (
        <p role="alert" class="error">
          {error}
        </p>
      )}
      {found === undefined && error === undefined && <p class="note">Looking…</p>}
      {found?.kind === 'folder' && <Folder path={path} folder={found} more={more} />}
      {found !== undefined && found.kind !== 'folder' && <OneFile path={path} file={found} key={turn} />}
    </Card>
  )
}

function Trail({ path, shown }: { readonly path: string; readonly shown: string | undefined }) {
  const parts = path.split('/').filter(part => part !== '')
  const names = (shown ?? '').split('/').filter(part => part !== '')
  return (
    <nav aria-label="Path" class="trail">
      <ol>
        <li>
          <a href="#/files" aria-current={parts.length === 0 ? 'page' : undefined}>
            root
          </a>
        </li>
        {parts.map((part, at) => {
          const to = `#/files/${parts.slice(0, at + 1).join('/')}`
          return (
            <li key={to}>
              <a href={to} aria-current={at === parts.length - 1 ? 'page' : undefined}>
                <bdi>{names[at] ?? '…'}</bdi>
              </a>
            </li>
          )
        })}
      </ol>
    </nav>
  )
}

interface FolderProps {
  readonly path: string
  readonly folder: FolderAnswer
  readonly more: (after: string) => Promise<void>
}

function Folder({ path, folder, more }: FolderProps) {
  const { after } = folder
  const columns: readonly Column<Entry>[] = [
    {
      head: 'Name',
      cell: entry => (
        <a href={`#/files${path}/${entry.part}`}>
          <bdi class="path">{entry.name}</bdi>
        </a>
      ),
    },
    { head: 'Kind', cell: entry => entry.kind },
    { head: 'Size', isNumber: true, cell: entry => (entry.kind === 'folder' ? '–' : bytes(entry.size)) },
    { head: 'Copies', isNumber: true, cell: entry => number(entry.copies) },
    { head: 'Mode', cell: entry => <code>{entry.mode}</code> },
    { head: 'Owner', isNumber: true, cell: entry => `${String(entry.owner)}:${String(entry.group)}` },
    { head: 'Changed', cell: entry => moment(entry.changedMs) },
  ]
  return (
    <>
      <Table
        caption={`In ${folder.path === '' ? 'the root' : folder.path}`}
        columns={columns}
        rows={folder.entries}
        keyOf={({ part }) => part}
        empty="This folder is empty."
      />
      {after !== null && (
        <button type="button" onClick={() => void more(after)}>
          Show more of this folder
        </button>
      )}
    </>
  )
}

const blocks: readonly Column<Extent>[] = [
  { head: 'From', isNumber: true, cell: extent => number(extent.offset) },
  { head: 'Bytes', isNumber: true, cell: extent => number(extent.length) },
  { head: 'Block', cell: extent => <code title={extent.block}>{extent.block.slice(0, 12)}</code> },
  {
    head: 'Part',
    cell: ({ blockOffset, blockLength, length }) =>
      blockOffset === 0 && blockLength === length
        ? 'all of it'
        : `from ${number(blockOffset)} of ${number(blockLength)}`,
  },
  {
    head: 'Copies',
    cell: ({ copies, copiesWanted }) => (
      <span class={`state ${copies.length === 0 ? 'bad' : copies.length < copiesWanted ? 'warn' : 'good'}`}>
        {copies.length} of {copiesWanted}
      </span>
    ),
  },
  {
    head: 'Nodes',
    cell: ({ copies }) => (
      <span class="chips">
        {copies.map(({ node, address, zone }) => (
          <a key={node} href="#/nodes" class="chip" title={`${address}, zone ${zone}`}>
            node {node}
          </a>
        ))}
      </span>
    ),
  },
]

function OneFile({ path, file }: { readonly path: string; readonly file: FolderAnswer }) {
  const [found, setFound] = useState<ExtentsAnswer>()
  const [error, setError] = useState<string>()
  const load = async (question: string, before: readonly Extent[]) => {
    try {
      const next = await ask<ExtentsAnswer>(question)
      setFound({ ...next, extents: [...before, ...next.extents] })
    } catch (thrown) {
      setError(messageOf(thrown))
    }
  }
  useEffect(() => {
    if (file.kind === 'file') void load(`blocks?path=${path}`, [])
  }, [path])
  const after = found?.after ?? null
  return (
    <>
      <Figures
        rows={[
          ['Kind', file.kind],
          [
            'Size',
            file.size === undefined ? '–' : `${number(file.size)} bytes, ${bytes(file.stored ?? 0)} stored`,
          ],
          ...(file.target === null ? [] : [['Leads to', <bdi class="path">{file.target}</bdi>] as const]),
          ['Inode', file.ino],
          ['Links', file.links],
          ['Mode and owner', `${file.mode ?? ''}, ${String(file.owner)}:${String(file.group)}`],
          ['Copies wanted', file.copies],
          ['Changed', moment(file.changedMs ?? 0)],
        ]}
      />
      {error !== undefined && (
        <p role="alert" class="error">
          {error}
        </p>
      )}
      {found !== undefined && (
        <>
          <h3>Where its blocks are</h3>
          <p class="note">
            {counted(found.total, 'extent')}; what a mount has not yet written back is not among them.
          </p>
          <Table
            caption="Blocks and where their copies are"
            columns={blocks}
            rows={found.extents}
            keyOf={({ offset }) => String(offset)}
            empty="Nothing of it is stored: it is empty, a hole, or not yet written back."
          />
          {after !== null && (
            <button
              type="button"
              onClick={() => void load(`blocks?path=${path}&offset=${after}`, found.extents)}
            >
              Show more blocks
            </button>
          )}
        </>
      )}
    </>
  )
}
