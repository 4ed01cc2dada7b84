import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as tick } from 'node:timers/promises'
import type { Client } from 'pg'
import { rememberCancel } from '../../../../../src/drivers/postgres/cancel-client.ts'
import { cancelStatement, type Running } from '../../../../../src/extract/read/postgres/session.ts'

/** A client whose request to cancel is answered when it is told to. */
function clientWith(answer: Promise<void>): Client {
  const client = {} as Client
  rememberCancel(client, () => answer)
  return client
}

const ENDED: Running = { settled: true, discard: async () => undefined }

test('a session is not returned before the request to cancel it is answered', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  let free: boolean | undefined
  const cancelled = cancelStatement(clientWith(promise), ENDED).then((isFree) => (free = isFree))
  for (let ticks = 0; ticks < 10; ticks += 1) await tick()
  // The server might cancel the next statement instead.
  assert.equal(free, undefined)
  resolve()
  await cancelled
  assert.equal(free, true)
})

test('a session is not free when the request failed or the statement does not end', async () => {
  assert.equal(await cancelStatement(clientWith(Promise.reject(new Error('gone'))), ENDED), false)
  const endless: Running = { settled: false, discard: async () => undefined }
  assert.equal(await cancelStatement(clientWith(Promise.resolve()), endless), false)
  assert.equal(await cancelStatement({} as Client, ENDED), false)
})
