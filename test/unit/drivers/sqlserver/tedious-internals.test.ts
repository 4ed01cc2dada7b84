import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadTediousParts, movedParts, stateOf } from '../../../../src/drivers/sqlserver/tedious-internals.ts'

test('the private parts of tedious that we lean on are where they were', async () => {
  assert.deepEqual(movedParts(await loadTediousParts()), [])
})

test('a tedious that moved them is told apart by a plain sentence', async () => {
  class Moved {
    sendPreLogin(): void {
      throw new Error('never called')
    }
  }
  const parts = await loadTediousParts()
  const moved = movedParts({ ...parts, Connection: Moved, MessageIO: undefined, readValue: undefined })
  assert.ok(!moved.some((sentence) => sentence.includes('sendPreLogin')))
  assert.ok(moved.includes("tedious' Connection has no method sendLogin7Packet any more"))
  assert.ok(moved.includes('tedious has no MessageIO any more'))
  assert.ok(moved.includes('tedious has no readValue any more'))
})

test('a connection of tedious has the private fields that are read and set', async () => {
  const { Connection } = await loadTediousParts()
  const connection = new Connection({ server: 'db', authentication: { type: 'default', options: {} }, options: {} })
  assert.equal(connection.closed, false)
  assert.equal(connection.inTransaction, false)
  assert.deepEqual(Object.keys(connection.config), ['server', 'authentication', 'options'])
  assert.equal(stateOf(connection).state, 'Initialized')
  const { STATE } = connection as unknown as { STATE: Record<string, { name: string }> }
  for (const name of ['LoggedIn', 'SentClientRequest', 'SentAttention']) {
    assert.ok(
      Object.values(STATE).some((state) => state.name === name),
      `tedious has no state ${name} any more`,
    )
  }
})
