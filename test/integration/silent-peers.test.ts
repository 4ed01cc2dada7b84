/** The error of an attempt that a silent peer holds up names that peer, also when connect_timeout ends it. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { createEngine, PoolsmithError } from '../../src/index.ts'

/** Accepts connections and says nothing. */
const sockets = new Set<Socket>()
const mute = createServer((socket) => {
  sockets.add(socket)
  socket.on('error', () => undefined)
})
let port = 0

before(async () => {
  mute.listen(0, '127.0.0.1')
  await once(mute, 'listening')
  const address = mute.address()
  port = typeof address === 'object' && address !== null ? address.port : 0
})
after(() => {
  for (const socket of sockets) socket.destroy()
  mute.close()
})

for (const type of ['postgres', 'mssql']) {
  for (const scheme of ['http', 'socks5h']) {
    test(`${type}: a silent ${scheme} proxy is named, and not the server behind it`, async () => {
      await using db = await createEngine({
        type,
        host: 'db.example.test',
        login: 'u',
        password: 'pw',
        extra: { proxy: `${scheme}://127.0.0.1:${port}`, connect_timeout: 2 },
      })
      const error = await db.raw('select 1').then(
        () => assert.fail('it succeeded'),
        (reason: unknown) => reason,
      )
      assert.ok(error instanceof PoolsmithError)
      assert.deepEqual([error.code, error.phase, error.transient], ['CONNECT_TIMEOUT', 'proxy', true])
      assert.match(
        error.message,
        new RegExp(
          `The proxy ${scheme}://127\\.0\\.0\\.1:${port} on the way to db\\.example\\.test did not answer within 2 s`,
        ),
      )
      assert.match(error.hint ?? '', /proxy/)
    })
  }
}
