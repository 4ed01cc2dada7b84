/** Two ends of one local connection: what one has written can be read at the next turn of the event loop. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { temporaryFolder } from './folder.ts'

export interface SocketPair extends AsyncDisposable {
  readonly writer: Socket
  readonly reader: Socket
}

export async function socketPair(): Promise<SocketPair> {
  const folder = await temporaryFolder()
  // Not TCP, whose packets may come a moment later on a busy machine.
  const path =
    process.platform === 'win32' ? `\\\\.\\pipe\\poolsmith-${process.pid}-${Date.now()}` : join(folder.path, 's')
  const server = createServer()
  server.listen(path)
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const reader = connect(path)
  await once(reader, 'connect')
  const [writer] = (await accepted) as [Socket]
  return {
    writer,
    reader,
    async [Symbol.asyncDispose]() {
      reader.destroy()
      writer.destroy()
      server.close()
      await once(server, 'close')
      await folder[Symbol.asyncDispose]()
    },
  }
}
