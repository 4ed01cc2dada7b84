/** Sockets that are none of ours, and only make the kernel's table long. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const kept: Socket[] = []
const server = createServer((socket) => kept.push(socket.on('error', () => undefined)))
server.listen(0, '127.0.0.1', 4096)
await once(server, 'listening')
const { port } = server.address() as AddressInfo
for (let count = 0; count < Number(process.argv[2]) / 2; count++) {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  await once(socket, 'connect')
  kept.push(socket)
}
process.send?.({ sockets: kept.length })
process.on('disconnect', () => process.exit())
