import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Secret } from '../../../src/secret.ts'
import { ntlm } from '../../../src/strategies/ntlm.ts'
import { sqlAuth } from '../../../src/strategies/sql-auth.ts'
import { build, problemPaths } from './context.ts'

const password = new Secret('pw')
const mssql = { type: 'mssql' } as const

describe('sql_auth', () => {
  test("is the connection's login and password", async () => {
    const { source } = await build(sqlAuth, { ...mssql, login: 'sa', password })
    const credential = await source.get()
    assert.deepEqual([credential.kind, credential.user, credential.identity], ['password', 'sa', 'sa'])
    assert.ok(credential.kind === 'password' && credential.password.equals(password))
  })

  test('names all missing options', async () => {
    assert.deepEqual(await problemPaths(build(sqlAuth, mssql)), ['login', 'password'])
    assert.deepEqual(await problemPaths(build(sqlAuth, { ...mssql, login: 'sa' }, { password_file: '/x' })), [])
    assert.deepEqual(await problemPaths(build(sqlAuth, { ...mssql, login: 'a', password }, { password_file: '/x' })), [
      'extra.password_file',
    ])
  })
})

describe('ntlm', () => {
  test('is a credential of its own kind, and never used as a SQL login', async () => {
    for (const [login, extra] of [
      ['CORP\\etl', {}],
      ['etl', { domain: 'CORP' }],
      ['corp\\etl', { domain: 'CORP' }],
    ] as const) {
      const { source } = await build(ntlm, { ...mssql, login, password }, extra)
      const credential = await source.get()
      assert.ok(credential.kind === 'ntlm')
      assert.deepEqual([credential.user, credential.domain.toUpperCase()], ['etl', 'CORP'])
    }
  })

  test('names all missing and contradicting options', async () => {
    assert.deepEqual(await problemPaths(build(ntlm, mssql)), ['login', 'password', 'extra.domain'])
    assert.deepEqual(await problemPaths(build(ntlm, { ...mssql, login: 'A\\x', password }, { domain: 'B' })), [
      'extra.domain',
    ])
  })
})
