import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as tick } from 'node:timers/promises'
import type { Client } from 'pg'
import { cancelStatement, type Running } from '../../../../../src/extract/read/postgres/session.ts'
import type { ExtractEngine } from '../../../../../src/extract/read/table.ts'

/** An engine whose second session answers when it is told to. */
function helped(answer: Promise<unknown>): ExtractEngine {
  return {
    connection: {} as ExtractEngine['connection'],
    pool: {
      acquire: () => ({ promise: Promise.resolve({ query: () => answer }) }),
      release: () => true,
      invalidate: () => undefined,
    },
  }
}

const CLIENT = { processID: 4711 } as unknown as Client
const ENDED: Running = { settled: true, discard: async () => undefined }

test('a session is not returned before the request to cancel it is answered', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  let free: boolean | undefined
  const cancelled = cancelStatement(helped(promise), CLIENT, ENDED).then((isFree) => (free = isFree))
  for (let ticks = 0; ticks < 10; ticks += 1) await tick()
  // The server might cancel the next statement instead.
  assert.equal(free, undefined)
  resolve()
  await cancelled
  assert.equal(free, true)
})

test('a session is not free when the request failed or the statement does not end', async () => {
  assert.equal(await cancelStatement(helped(Promise.reject(new Error('gone'))), CLIENT, ENDED), false)
  const endless: Running = { settled: false, discard: async () => undefined }
  assert.equal(await cancelStatement(helped(Promise.resolve()), CLIENT, endless), false)
  assert.equal(await cancelStatement(helped(Promise.resolve()), {} as Client, ENDED), false)
})
