import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../../../src/errors.ts'
import type { StoreOptions } from '../../../src/stores/options.ts'
import { findConnection, listConnections } from '../../../src/stores/resolve.ts'
import { temporaryFolder } from '../../support/folder.ts'

async function rejection(promise: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await promise
  } catch (error) {
    assert.ok(error instanceof PoolsmithError)
    return error
  }
  throw new Error('expected a rejection')
}

describe('findConnection', () => {
  it('says of a URI that is mistyped what is missing, and never what it holds', async () => {
    for (const id of [
      'postgres//etl:hunter2@db/sales',
      'postgres//db/sales',
      'postgres:/etl:hunter2@db',
      'mssql:/db',
    ]) {
      const error = await rejection(findConnection(id, { environment: {}, cwd: '/nonexistent' }))
      assert.equal(error.message, 'The connection is not valid: `://` is missing behind the scheme of the URI')
      assert.match(error.hint ?? '', /postgres:\/\/etl@db/)
    }
  })

  it('looks at our variable, Airflow’s, then the file', async () => {
    await using folder = await temporaryFolder()
    const cwd = folder.path
    await writeFile(join(cwd, 'connections.yaml'), 'sales: postgres://file\nlake: mssql://file\n', { mode: 0o600 })
    const environment: Record<string, string> = {}
    const host = async (id: string): Promise<string | undefined> =>
      (await findConnection(id, { environment, cwd })).host
    assert.equal(await host('sales'), 'file')
    environment.AIRFLOW_CONN_SALES = 'postgres://airflow'
    assert.equal(await host('sales'), 'airflow')
    environment.POOLSMITH_CONN_SALES = '{"type": "postgres", "host": "ours"}'
    assert.equal(await host('sales'), 'ours')
    assert.equal(await host('lake'), 'file')
    assert.equal((await findConnection('lake', { environment, cwd })).id, 'lake')
  })

  it('reads process.env and the working folder by default', async (t) => {
    process.env.POOLSMITH_CONN_FIND_TEST = 'postgres://h'
    t.after(() => {
      delete process.env.POOLSMITH_CONN_FIND_TEST
    })
    assert.equal((await findConnection('find_test')).host, 'h')
  })

  it('says where it looked and which ids are like it', async () => {
    await using folder = await temporaryFolder()
    const cwd = folder.path
    const environment = { AIRFLOW_CONN_FLIGHT: 'postgres://u:hunter2@h', AIRFLOW_CONN_OTHER: 'postgres://h' }
    const error = await rejection(findConnection('flights', { environment, cwd }))
    assert.equal(error.code, 'CONNECTION_NOT_FOUND')
    assert.equal(error.phase, 'config')
    assert.match(error.hint ?? '', /Set POOLSMITH_CONN_FLIGHTS to a URI/)
    assert.deepEqual(error.details, {
      id: 'flights',
      lookedAt: [
        'environment variable POOLSMITH_CONN_FLIGHTS',
        'environment variable AIRFLOW_CONN_FLIGHTS',
        ...['yaml', 'yml', 'json'].map((extension) => `file ${join(cwd, `connections.${extension}`)}`),
      ],
      near: ['flight'],
    })
    assert.match(
      error.message,
      /^No connection is called flights\. Did you mean flight\? Looked at: environment variable/,
    )

    const file = join(cwd, 'c.yaml')
    await writeFile(file, 'Flights: postgres://h\nprod_flights: postgres://h\nx: postgres://h\n')
    const other = await rejection(findConnection('flights', { environment: {}, file }))
    assert.deepEqual(other.details.near, ['Flights', 'prod_flights'])
    assert.deepEqual((other.details.lookedAt as string[]).at(-1), `file ${file}`)
    assert.equal((other.details.lookedAt as string[]).length, 3)
  })

  for (const id of ['', ' ', 'a b', 'a=b', 'a\0b', 'u:hunter2@h', 'x'.repeat(251), 'a\n', '\u202e']) {
    it(`refuses ${JSON.stringify(id.slice(0, 20))} as an id without repeating it`, async () => {
      const error = await rejection(findConnection(id, { environment: {}, cwd: '/' }))
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(
        error.problems.map((problem) => problem.path),
        ['id'],
      )
      assert.ok(!error.message.includes('hunter2'))
    })
  }

  it('takes Airflow’s ids', async () => {
    for (const id of ['a', 'my_db', 'MyDb', 'a-b.c', 'team/db:1', 'x#1!(2)', 'größe']) {
      const environment = { [`POOLSMITH_CONN_${id.toUpperCase()}`]: 'postgres://h' }
      assert.equal((await findConnection(id, { environment, cwd: '/' })).id, id)
    }
  })

  it('names the variable that holds a wrong connection', async () => {
    const environment = { AIRFLOW_CONN_SALES: 'postgres://u:hunter2@h:port' }
    const error = await rejection(findConnection('sales', { environment }))
    assert.match(
      error.message,
      /^The connection "sales" in environment variable AIRFLOW_CONN_SALES is not valid: port: /,
    )
    assert.ok(!error.message.includes('hunter2'))
  })

  it('insists on a file that was named', async () => {
    await using folder = await temporaryFolder()
    const environment = { POOLSMITH_CONNECTIONS_FILE: 'none.yaml' }
    const error = await rejection(findConnection('sales', { environment, cwd: folder.path }))
    assert.equal(error.code, 'CONFIG_INVALID')
    assert.match(error.message, /none\.yaml is not valid: it does not exist/)
  })

  it('warns of a file with secrets in it that others may read, and only of such', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'c.yaml')
    await writeFile(file, 'a: postgres://u:p@h\nb: postgres://h\nc: postgres://h?sslpassword=x\n')
    const warned = async (id: string): Promise<ConfigProblem[]> => {
      const warnings: ConfigProblem[] = []
      await findConnection(id, { environment: {}, file, onWarning: (warning) => warnings.push(warning) })
      return warnings
    }
    await chmod(file, 0o644)
    assert.deepEqual(
      (await warned('a')).map(({ path }) => path),
      [file],
    )
    assert.deepEqual(
      (await warned('c')).map(({ path }) => path),
      [file],
    )
    assert.deepEqual(await warned('b'), [])
    await chmod(file, 0o600)
    assert.deepEqual(await warned('a'), [])
  })
})

describe('the team', () => {
  const environment = {
    AIRFLOW_CONN__DATA___SALES: 'postgres://data',
    AIRFLOW_CONN_SALES: 'postgres://all',
    AIRFLOW_CONN__OPS___STOCK: 'postgres://stock',
  }

  it('comes from the option, or from POOLSMITH_TEAM', async () => {
    const host = async (options: StoreOptions) => (await findConnection('sales', { cwd: '/', ...options })).host
    assert.equal(await host({ environment }), 'all')
    assert.equal(await host({ environment, team: 'data' }), 'data')
    assert.equal(await host({ environment: { ...environment, POOLSMITH_TEAM: 'Data' } }), 'data')
    assert.equal(await host({ environment: { ...environment, POOLSMITH_TEAM: 'data' }, team: 'ops' }), 'all')
  })

  it('is named by the hint where only a team has the id', async () => {
    const error = await rejection(findConnection('stock', { environment, cwd: '/' }))
    assert.equal(error.code, 'CONNECTION_NOT_FOUND')
    assert.match(error.hint ?? '', /^AIRFLOW_CONN__OPS___STOCK is the connection of a team; set POOLSMITH_TEAM/)
  })

  it('has its own connections in a file', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'c.yaml')
    await writeFile(file, 'sales: postgres://all\ndata___sales: postgres://data\n')
    const options = { environment: {}, file, team: 'data' }
    const { id, host } = await findConnection('sales', options)
    assert.deepEqual([id, host], ['sales', 'data'])
    assert.equal((await findConnection('sales', { environment: {}, file })).host, 'all')
    assert.deepEqual(
      (await listConnections(options)).map(({ id, shadowed, connection }) => [id, shadowed, connection?.host]),
      [
        ['sales', false, 'data'],
        ['sales', true, 'all'],
      ],
    )
  })

  it('is refused where it can be none', async () => {
    for (const team of ['a', 'a___b', 'x'.repeat(51), 'a b', 'a\0b']) {
      const error = await rejection(findConnection('sales', { environment, team }))
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ['team'],
      )
    }
  })
})

describe('listConnections', () => {
  it('lists every store in order, wrong connections with their errors, and marks hidden ones', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'c.json')
    await writeFile(
      file,
      JSON.stringify({ Sales: 'postgres://u:p@file', bad: 'postgres://u:hunter2@h:x', 'no id': 'postgres://h' }),
    )
    await chmod(file, 0o644)
    const environment = {
      AIRFLOW_CONN_SALES: 'postgres://airflow',
      POOLSMITH_CONN_SALES: 'postgres://ours',
      PATH: '/bin',
    }
    const warnings: ConfigProblem[] = []
    const listed = await listConnections({ environment, file, onWarning: (warning) => warnings.push(warning) })
    assert.deepEqual(
      listed.map(({ id, store, shadowed, connection, error }) => [id, store, shadowed, connection?.host, error?.code]),
      [
        ['sales', 'environment variable POOLSMITH_CONN_SALES', false, 'ours', undefined],
        ['sales', 'environment variable AIRFLOW_CONN_SALES', true, 'airflow', undefined],
        ['Sales', `file ${file}`, true, 'file', undefined],
        ['bad', `file ${file}`, false, undefined, 'CONFIG_INVALID'],
        ['no id', `file ${file}`, false, undefined, 'CONFIG_INVALID'],
      ],
    )
    assert.ok(!JSON.stringify(listed).includes('hunter2'))
    assert.deepEqual(
      warnings.map(({ path }) => path),
      [file],
    )
  })

  it('is empty where nothing is configured', async () => {
    await using folder = await temporaryFolder()
    assert.deepEqual(await listConnections({ environment: {}, cwd: folder.path }), [])
  })

  it('fails for a file that cannot be read as a whole', async () => {
    await using folder = await temporaryFolder()
    await assert.rejects(listConnections({ environment: {}, cwd: folder.path, file: 'none.yaml' }), ConfigError)
  })
})
