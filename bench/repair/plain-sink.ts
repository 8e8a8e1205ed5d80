/**
 * The other half: stores each file that comes in a folder, with fdatasync, and then says so. Prints its port.
 * Usage: node plain-sink.js FOLDER
 */
import { type FileHandle, open } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'

const folder = process.argv[2] ?? '.'
let files = 0

async function receive(socket: Socket): Promise<void> {
  let file: FileHandle | undefined
  let left = 0
  let half: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    let data = half.length === 0 ? chunk : Buffer.concat([half, chunk])
    half = Buffer.alloc(0)
    while (data.length > 0) {
      if (file === undefined) {
        if (data.length < 8) {
          half = data
          break
        }
        left = Number(data.readBigUInt64LE())
        data = data.subarray(8)
        file = await open(path.join(folder, String(files++)), 'wx')
      }
      const part = data.subarray(0, left)
      for (let at = 0; at < part.length; ) at += (await file.write(part, at)).bytesWritten
      left -= part.length
      data = data.subarray(part.length)
      if (left > 0) continue
      await file.datasync()
      await file.close()
      file = undefined
      socket.write('.')
    }
  }
}

const server = createServer(socket => {
  socket.setNoDelay(true)
  receive(socket).catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`)
    process.exit(1)
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.stdout.write(`${String(address.port)}\n`)
})
