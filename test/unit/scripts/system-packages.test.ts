import assert from 'node:assert/strict'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { closureOf } from '../../../scripts/source-imports.ts'
import { lockfilesFor, systemPackagesFor } from '../../../scripts/system-packages.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const neededBy = (...files: string[]): string[] =>
  systemPackagesFor(closureOf(files.map((file) => join(ROOT, file)))).map(({ name }) => name)

test('no unit test needs a package of the system', () => {
  const unit = globSync('test/unit/**/*.test.ts', { cwd: ROOT }).filter((file) => !file.includes('system-packages'))
  assert.ok(unit.length > 50)
  assert.deepEqual(neededBy(...unit), [])
})

test('a test file needs the programs that it and its imports name, and no others', () => {
  assert.deepEqual(neededBy('test/integration/engine/transactions.test.ts'), [])
  assert.deepEqual(neededBy('test/integration/proxy-socks.test.ts'), ['curl'])
  const kerberos = neededBy('test/integration/kerberos-session.test.ts')
  for (const name of ['postgresql-15', 'krb5-kdc', 'krb5-admin-server', 'krb5-user']) assert.ok(kerberos.includes(name))
  assert.ok(!kerberos.includes('squid'))
  assert.ok(neededBy('test/integration/sqlserver-double-freetds.test.ts').includes('freetds-bin'))
  assert.ok(neededBy('test/integration/pool-postgres.test.ts').includes('procps'))
})

test('packages with their own lockfile are installed only for the tests that name them', () => {
  const needs = (file: string): string[] => lockfilesFor(closureOf([join(ROOT, file)]))
  assert.deepEqual(needs('test/integration/extract-types.test.ts'), ['test/support/postgres-13'])
  assert.deepEqual(needs('test/integration/layers.test.ts'), ['examples/layers'])
  assert.deepEqual(needs('test/integration/engine/transactions.test.ts'), [])
})
