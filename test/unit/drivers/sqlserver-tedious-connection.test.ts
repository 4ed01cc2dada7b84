import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as tedious from 'tedious'
import { default as MessageIO } from 'tedious/lib/message-io.js'
import { Login7TokenHandler } from 'tedious/lib/token/handler.js'
import { loadConnectionClass, movedParts } from '../../../src/drivers/sqlserver/tedious-connection.ts'

test('the private parts of tedious that the driver leans on are where they were', async () => {
  assert.deepEqual(movedParts({ Connection: tedious.Connection, MessageIO, Login7TokenHandler }), [])
  await loadConnectionClass()
})

test('a tedious that moved them is told apart by a plain sentence', () => {
  class Moved {
    sendPreLogin(): void {
      throw new Error('never called')
    }
  }
  const moved = movedParts({ Connection: Moved, MessageIO: undefined, Login7TokenHandler })
  assert.ok(!moved.some((sentence) => sentence.includes('sendPreLogin')))
  assert.ok(moved.includes("tedious' Connection has no method sendLogin7Packet any more"))
  assert.ok(moved.includes('tedious has no class MessageIO any more'))
})
