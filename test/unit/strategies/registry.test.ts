import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { text } from '../../../src/connections/fields.ts'
import { staticSource } from '../../../src/credentials/static-source.ts'
import { strategies } from '../../../src/strategies/index.ts'
import { StrategyRegistry } from '../../../src/strategies/registry.ts'
import { defineStrategy } from '../../../src/strategies/strategy.ts'

const make = (name: string, more: { aliases?: string[]; dialects?: ('postgres' | 'mssql')[] } = {}) =>
  defineStrategy({
    name,
    dialects: ['postgres'],
    description: name,
    fields: { vault_path: text({ description: 'Path of the secret.' }) },
    credentials: () => staticSource({ kind: 'gss', identity: name, issuedAt: 0 }),
    ...more,
  })

describe('the registry', () => {
  test('finds a strategy by its name and by its aliases, for its dialects', () => {
    const registry = new StrategyRegistry()
    const both = make('vault', { aliases: ['hashicorp'], dialects: ['postgres', 'mssql'] })
    registry.register(both)
    assert.equal(registry.select('postgres', 'vault'), both)
    assert.equal(registry.select('mssql', 'hashicorp'), both)
  })

  test('without a name means password', () => {
    const registry = new StrategyRegistry()
    const sql = make('sql_auth', { aliases: ['password'], dialects: ['mssql'] })
    const password = make('password')
    registry.register(sql)
    registry.register(password)
    assert.equal(registry.select('postgres'), password)
    assert.equal(registry.select('mssql'), sql)
  })

  test('suggests the nearest name and lists all for this dialect', () => {
    const registry = new StrategyRegistry()
    registry.register(make('azure_ad'))
    registry.register(make('iam'))
    registry.register(make('ntlm', { dialects: ['mssql'] }))
    assert.throws(() => registry.select('postgres', 'azure-ad'), {
      code: 'STRATEGY_UNKNOWN',
      phase: 'config',
      message: 'There is no strategy "azure-ad" for postgres; did you mean azure_ad?',
      hint: 'Set auth_method to one of azure_ad, iam, or register your own.',
    })
    assert.throws(() => registry.select('postgres', 'zebra'), /no strategy "zebra" for postgres\.$/)
    assert.throws(() => registry.select('postgres', 'ntlm'), /"ntlm" for postgres, only for mssql\.$/)
  })

  test('a name that is taken is an error, also by an alias; the same name for another dialect is not', () => {
    const registry = new StrategyRegistry()
    registry.register(make('vault', { aliases: ['v'] }))
    for (const second of [make('vault'), make('v'), make('other', { aliases: ['vault'] })]) {
      assert.throws(() => registry.register(second), { code: 'CONFIG_INVALID', message: /taken for postgres by vault/ })
    }
    registry.register(make('vault', { dialects: ['mssql'] }))
    assert.equal(registry.list().length, 2)
    assert.equal(registry.list('mssql').length, 1)
  })
})

describe('the strategies that come with the library', () => {
  test('are registered, each with a description of itself and of each field', () => {
    const names = strategies.list('postgres').map((strategy) => strategy.name)
    for (const name of ['password', 'ssl_cert', 'iam', 'azure_ad']) assert.ok(names.includes(name), name)
    for (const strategy of strategies.list()) {
      assert.match(strategy.description, /\.$/)
      for (const [key, field] of Object.entries(strategy.fields)) {
        assert.match(field.description, /\.$/, `${strategy.name}.${key}`)
      }
    }
  })

  test('verify the server if they send it a token or a certificate', () => {
    for (const name of ['ssl_cert', 'iam', 'azure_ad']) {
      assert.deepEqual(strategies.select('postgres', name).defaults, { sslmode: 'verify-full' })
    }
    assert.equal(strategies.select('postgres', 'password').defaults, undefined)
  })
})
