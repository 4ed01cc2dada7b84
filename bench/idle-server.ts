/** A server for many idle sessions, in a process of its own: it accepts every login and answers each statement with nothing. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { authentication, int32, message } from '../test/support/fake-postgres.ts'

const PARAMETERS = {
  server_version: '18.0',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
  in_hot_standby: 'off',
  default_transaction_read_only: 'off',
}
const complete = message('C', Buffer.from('SELECT 0\0'))
const ready = message('Z', Buffer.from('I'))
const greeting = Buffer.concat([
  authentication(0),
  ...Object.entries(PARAMETERS).map(([name, value]) => message('S', Buffer.from(`${name}\0${value}\0`))),
  message('K', int32(4711), int32(99)),
  ready,
])
const ANSWERS: Readonly<Record<string, Buffer>> = {
  Q: Buffer.concat([complete, ready]),
  S: Buffer.concat([message('1'), message('2'), message('n'), complete, ready]),
}

function serve(socket: Socket): void {
  let waiting = Buffer.alloc(0)
  let started = false
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    waiting = Buffer.concat([waiting, chunk])
    for (;;) {
      const header = started ? 1 : 0
      if (waiting.length < header + 4) return
      const length = header + waiting.readInt32BE(header)
      if (waiting.length < length) return
      const answer = started ? ANSWERS[String.fromCharCode(waiting[0] ?? 0)] : greeting
      waiting = waiting.subarray(length)
      started = true
      if (answer !== undefined) socket.write(answer)
    }
  })
}

const server = createServer(serve)
server.listen(0, '127.0.0.1', 2048)
await once(server, 'listening')
process.send?.({ port: (server.address() as AddressInfo).port })
process.on('disconnect', () => process.exit())
