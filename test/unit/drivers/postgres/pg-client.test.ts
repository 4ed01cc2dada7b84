/** The contract with private parts of pg: fails here, with a plain sentence, when a new version moves one of them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { assertKnownShape, loadPg } from '../../../../src/drivers/postgres/pg-client.ts'

test('the installed pg has every private part that is used', async () => {
  assertKnownShape(pg)
  assert.equal(await loadPg(), pg)
})

const without = (name: 'Client' | 'Connection', method: string): typeof pg => {
  class Changed extends (pg[name] as unknown as new (config?: object) => object) {}
  Object.defineProperty(Changed.prototype, method, { value: undefined })
  return { ...pg, [name]: Changed } as typeof pg
}

test('a pg without one of the methods is refused by its name', () => {
  for (const [name, method] of [
    ['Client', '_getActiveQuery'],
    ['Client', 'getTransactionStatus'],
    ['Connection', 'attachListeners'],
  ] as const) {
    assert.throws(() => assertKnownShape(without(name, method)), {
      code: 'DRIVER_INCOMPATIBLE',
      message: `The installed pg has no pg.${name}.prototype.${method}, which poolsmith needs to hand it a session.`,
    })
  }
  assert.throws(() => assertKnownShape({ ...pg, Connection: undefined } as unknown as typeof pg), {
    message: /has no pg\.Connection,/,
  })
})

test('a pg without one of the fields is refused by its name', () => {
  class Client extends pg.Client {
    constructor(config: pg.ClientConfig) {
      super(config)
      Reflect.deleteProperty(this, '_queryQueue')
    }
  }
  assert.throws(() => assertKnownShape({ ...pg, Client } as unknown as typeof pg), {
    message: /pg\.Client#_queryQueue/,
  })
})
