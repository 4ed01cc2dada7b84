import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { findConnection } from '../../../src/index.ts'
import { Secret } from '../../../src/secret.ts'
import { openStores } from '../../../src/stores/index.ts'
import { fileReader } from '../../../src/stores/local.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { findSecrets } from '../../support/object-graph.ts'
import { writingSuite } from '../../support/writing-suite.ts'

const folder = await temporaryFolder()
after(() => folder[Symbol.asyncDispose]())
const signal = AbortSignal.timeout(120_000)

async function file(name: string, content?: string): Promise<string> {
  const path = join(folder.path, `${randomUUID()}${name}`)
  if (content !== undefined) await writeFile(path, content, { mode: 0o600 })
  return path
}

writingSuite(
  'a file',
  async () => fileReader,
  (name) => join(folder.path, name),
)

const write = async (path: string, text: string) => {
  const replaces = await fileReader.read(path, signal)
  return fileReader.write?.(path, new Map([['', new Secret(text)]]), { replaces, signal })
}

describe('a file of one secret', () => {
  test('is replaced as a whole, belongs to this user alone, and leaves nothing beside it', async () => {
    const path = await file('', 'one\n')
    await write(path, 'two')
    assert.equal(await readFile(path, 'utf8'), 'two\n')
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    const names = await readdir(folder.path)
    assert.deepEqual(
      names.filter((name) => name.endsWith('.lock')),
      [],
    )
  })

  test('is not written through a link, nor where another writer holds the lock, nor where it is binary', async () => {
    const target = await file('', 'one\n')
    const link = await file('')
    await symlink(target, link)
    await assert.rejects(write(link, 'two'), { code: 'SECRET_FILE_REFUSED' })
    assert.equal(await readFile(target, 'utf8'), 'one\n')
    const bytes = await file('')
    await writeFile(bytes, Buffer.from([255, 254]), { mode: 0o600 })
    await assert.rejects(write(bytes, 'two'), { code: 'SECRET_UNUSABLE' })
    const locked = await file('', 'one\n')
    await writeFile(`${locked}.lock`, '', { mode: 0o600 })
    const ended = new AbortController()
    const waiting = fileReader.write?.(locked, new Map([['', new Secret('two')]]), {
      replaces: await fileReader.read(locked, signal),
      signal: ended.signal,
    })
    ended.abort(new Error('the caller has gone'))
    await assert.rejects(async () => waiting, /the caller has gone/)
    assert.equal(await readFile(locked, 'utf8'), 'one\n')
  })
})

const RECORD = {
  type: 'postgres',
  host: 'h',
  port: 5433,
  login: 'etl',
  password: 'Passw0rd-of-the-file',
  database: 'sales',
} as const

describe('a store of the type file', () => {
  for (const name of ['.yaml', '.json', '.env']) {
    test(`makes and changes a file that ends in ${name}, which it reads as Airflow does`, async () => {
      const connections_file_path = await file(name)
      const variables_file_path = await file(name)
      const settings = { type: 'file', connections_file_path, variables_file_path } as const
      await using stores = openStores({ stores: [settings], environment: {}, cwd: folder.path })
      await stores.setConnection('sales', RECORD)
      await stores.setConnection('other', 'mssql://sa:x@db/one')
      await stores.setConnection('sales', { ...RECORD, database: 'next' })
      const found = await stores.getConnection('sales')
      assert.deepEqual([found?.database, found?.port, found?.password?.reveal()], ['next', 5433, RECORD.password])
      assert.equal((await stores.getConnection('other'))?.type, 'mssql')
      await stores.setVariable('bucket', 'bronze')
      await stores.setVariable('number', '0071')
      await stores.setVariable('bucket', 'silver')
      assert.equal((await stores.getVariable('bucket'))?.reveal(), 'silver')
      assert.equal((await stores.getVariable('number'))?.reveal(), '0071')
      assert.equal((await stat(connections_file_path)).mode & 0o777, 0o600)
    })
  }

  test('keeps comments, the order and the digits of other entries', async () => {
    const before = [
      '# of the team',
      'first: postgres://h/1 # the first',
      'second:',
      '  conn_type: postgres',
      '  password: 0071',
      '  port: 5433',
      "third: 'postgres://h/3'",
      '',
    ].join('\n')
    const connections_file_path = await file('.yaml', before)
    const settings = { type: 'file', connections_file_path } as const
    await using stores = openStores({ stores: [settings], environment: {}, cwd: folder.path })
    await stores.setConnection('fourth', 'postgres://h/4')
    const after = await readFile(connections_file_path, 'utf8')
    assert.ok(after.startsWith(before), after)
    await stores.setConnection('first', 'postgres://h/one')
    const changed = await readFile(connections_file_path, 'utf8')
    assert.match(changed, /^# of the team\nfirst:/)
    assert.match(changed, /\n {2}password: 0071\n/)
    await assert.rejects(stores.setVariable('x', 'y'), /stores: none of them can be written/)
  })

  test('writers who come together all write', async () => {
    const connections_file_path = await file('.yaml')
    const settings = { type: 'file', connections_file_path } as const
    await using stores = openStores({ stores: [settings], environment: {}, cwd: folder.path })
    const ids = Array.from({ length: 8 }, (_, index) => `db${index}`)
    await Promise.all(ids.map((id) => stores.setConnection(id, `postgres://h/${id}`)))
    for (const id of ids) assert.equal((await stores.getConnection(id))?.database, id)
  })

  test('a value that the form of the file cannot hold, and a file that is wrong, are refused without their values', async () => {
    const variables_file_path = await file('.env', 'first=one\n')
    const connections_file_path = await file('.yaml', 'stores:\n  - { type: environment }\n')
    const settings = { type: 'file', variables_file_path, connections_file_path } as const
    await using stores = openStores({ stores: [settings], environment: {}, cwd: folder.path })
    const refused = async (promise: Promise<unknown>, code: string) => {
      const error: unknown = await promise.then(
        () => undefined,
        (reason: unknown) => reason,
      )
      assert.equal((error as { code?: string } | undefined)?.code, code)
      assert.deepEqual(findSecrets([error], ['two\nlines', RECORD.password]), [])
    }
    await refused(stores.setVariable('second', 'two\nlines'), 'SECRET_UNUSABLE')
    await refused(stores.setConnection('stores', RECORD), 'SECRET_UNUSABLE')
    assert.equal(await readFile(variables_file_path, 'utf8'), 'first=one\n')
    const wrong = await file('.json', '{ "broken": ')
    const broken = { type: 'file', connections_file_path: wrong } as const
    await using others = openStores({ stores: [broken], environment: {}, cwd: folder.path })
    await refused(others.setConnection('sales', RECORD), 'CONFIG_INVALID')
    assert.equal(await readFile(wrong, 'utf8'), '{ "broken": ')
  })

  test('an entry of a team stays with the team', async () => {
    const connections_file_path = await file(
      '.json',
      '{ "data___sales": "postgres://team", "common": "postgres://all" }',
    )
    const settings = { type: 'file', connections_file_path } as const
    const options = { stores: [settings], environment: {}, cwd: folder.path, team: 'data' }
    await using stores = openStores(options)
    await stores.setConnection('sales', 'postgres://next')
    await stores.setConnection('common', 'postgres://next')
    const content = JSON.parse(await readFile(connections_file_path, 'utf8')) as object
    assert.deepEqual(Object.keys(content), ['data___sales', 'common'])
    assert.equal((await findConnection('sales', options)).host, 'next')
  })
})
