import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readExtra } from '../../../src/connections/extra.ts'
import type { Field } from '../../../src/connections/fields.ts'
import { proxyFields } from '../../../src/drivers/network/proxy/options.ts'
import { postgresFields } from '../../../src/drivers/postgres/options.ts'
import { poolFields } from '../../../src/pool/options.ts'
import { Secret } from '../../../src/secret.ts'
import { strategies } from '../../../src/strategies/index.ts'

// A connection is parsed, and may be printed, before anybody knows which tables of options will read its extras.
describe('options and the secrets among extras, which are known by name alone', () => {
  const tables = [postgresFields, poolFields, proxyFields, ...strategies.list().map((strategy) => strategy.fields)]
  const options = tables.flatMap((table) =>
    Object.entries(table).flatMap(([name, field]: [string, Field<unknown>]) =>
      [name, ...field.aliases].map((key) => ({ key, declared: field.secret })),
    ),
  )
  it('agree on every option', () => {
    assert.ok(options.some(({ declared }) => declared) && options.some(({ declared }) => !declared))
    for (const { key, declared } of options) {
      const hidden = readExtra({ [key]: 'x' }).extra[key] instanceof Secret
      assert.equal(hidden, declared, `${key} is ${declared ? '' : 'not '}declared as a secret`)
    }
  })
})
