import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { type ConnectionObject, parseConnection } from '../../../src/connections/parse.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { readPassFile } from '../../../src/strategies/pass-file.ts'
import { damages, truncations } from '../../support/bad-strings.ts'
import { temporaryFolder } from '../../support/folder.ts'

test('the line of a host, of a socket, of an address, and of defaults', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'pgpass')
  const lines = [
    'localhost:5432:etl:etl:1',
    '/run/x:*:*:*:2',
    String.raw`\:\:1:*:*:*:3`,
    '10.0.0.1:6:a:*:4',
    '*:*:*::5',
  ]
  await writeFile(file, lines.join('\n'), { mode: 0o600 })
  const cases: [ConnectionObject, string | undefined, string][] = [
    [{ login: 'etl' }, undefined, '1'],
    [{ login: 'etl', host: '/var/run/postgresql' }, undefined, '1'],
    [{ login: 'etl', host: '/tmp' }, undefined, '1'],
    [{ login: 'etl', host: '/run/x' }, undefined, '2'],
    [{ login: 'etl', host: '::1' }, undefined, '3'],
    [{ login: 'etl', port: 6, database: 'a' }, '10.0.0.1', '4'],
    [{}, undefined, '5'],
  ]
  for (const [record, hostaddr, expected] of cases) {
    const connection = parseConnection({ type: 'postgres', ...record })
    assert.equal((await readPassFile(file, connection, hostaddr)).reveal(), expected, inspect(record))
  }
})

test('however the file is cut off or damaged: a password or an error without one', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'pgpass')
  const connection = parseConnection({ type: 'postgres', host: 'db', login: 'etl' })
  const text = `# a comment\nother:*:*:*:s3cret-of-other\ndb:5432:etl:etl:s3cret:of\\\\db\n`
  for (const value of [...truncations(text), ...damages(text)]) {
    await writeFile(file, value, { mode: 0o600 })
    try {
      assert.ok(!inspect(await readPassFile(file, connection)).includes('s3cret'))
    } catch (error) {
      assert.ok(error instanceof PoolsmithError, inspect(error))
      assert.equal(error.code, 'CREDENTIAL_MISSING')
      assert.ok(!inspect(error, { depth: 9 }).includes('s3cret'))
    }
  }
})
