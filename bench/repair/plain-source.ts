/**
 * Half of a plain program that copies files over the network: reads each file named on its standard input and sends
 * it over one of `parallel` connections; the next goes when the other side says that the last is on stable storage.
 * Usage: node plain-source.js PORT PARALLEL
 */
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const readBytes = 1 << 20

const [port, parallel] = process.argv.slice(2).map(Number)
const files: string[] = []
for await (const line of createInterface({ input: process.stdin })) files.push(line)

async function send(socket: Socket, path: string, buffer: Buffer): Promise<void> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const head = Buffer.alloc(8)
    head.writeBigUInt64LE(BigInt(size))
    socket.write(head)
    for (let at = 0; at < size; ) {
      const { bytesRead } = await file.read(buffer, 0, readBytes, at)
      if (bytesRead === 0) throw new Error(`${path} is shorter than it was`)
      at += bytesRead
      // The buffer is free when the bytes have left.
      await new Promise<void>((resolve, reject) =>
        socket.write(buffer.subarray(0, bytesRead), error => {
          if (error == null) resolve()
          else reject(error)
        }),
      )
    }
  } finally {
    await file.close()
  }
}

async function worker(): Promise<void> {
  const socket = connect(port ?? 0, '127.0.0.1')
  socket.setNoDelay(true)
  const buffer = Buffer.allocUnsafeSlow(readBytes)
  for (let path = files.pop(); path !== undefined; path = files.pop()) {
    const stored = new Promise((resolve, reject) => {
      socket.once('data', resolve)
      socket.once('close', () => reject(new Error('the other side is gone')))
    })
    await send(socket, path, buffer)
    await stored
    socket.removeAllListeners('close')
  }
  socket.end()
}

await Promise.all(Array.from({ length: parallel ?? 1 }, worker))
