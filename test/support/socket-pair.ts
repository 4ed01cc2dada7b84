/** Two ends of one connection on this machine: what one has written can be read at the next turn of the event loop. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface SocketPair extends AsyncDisposable {
  readonly writer: Socket
  readonly reader: Socket
}

export async function socketPair(): Promise<SocketPair> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const reader = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(reader, 'connect')
  const [writer] = (await accepted) as [Socket]
  writer.setNoDelay(true)
  return {
    writer,
    reader,
    async [Symbol.asyncDispose]() {
      reader.destroy()
      writer.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
