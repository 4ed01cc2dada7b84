import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, chown, lchown, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { inspect, promisify } from 'node:util'
import { LARGEST_FILE } from '../../../../src/connections/limits.ts'
import { connectionOf } from '../../../../src/connections/parse.ts'
import { locateConnectionsFile, readConnectionsFile } from '../../../../src/connections/stores/file.ts'
import { readStored } from '../../../../src/connections/stores/stored.ts'
import { ConfigError } from '../../../../src/errors.ts'
import { temporaryFolder } from '../../../support/folder.ts'
import { revealed } from '../revealed.ts'

async function read(name: string, content: string | Uint8Array): Promise<Record<string, unknown>> {
  await using folder = await temporaryFolder()
  const path = join(folder.path, name)
  await writeFile(path, content, { mode: 0o600 })
  const { connections } = await readConnectionsFile(path)
  return Object.fromEntries([...connections].map(([id, stored]) => [id, revealed(connectionOf(readStored(stored)))]))
}

describe('a connections file', () => {
  const sales = {
    id: 'sales',
    type: 'postgres',
    host: 'db',
    login: 'etl',
    password: 's3cret',
    database: 'sales',
    extra: { sslmode: 'require' },
  }
  const lake = { id: 'lake', type: 'mssql', host: 'sql', port: 1433, extra: { a: { b: [1] } } }

  const yaml = `
# what Airflow's local-filesystem backend reads
sales: postgres://etl:s3cret@db/sales?sslmode=require
lake:
  conn_id: lake
  conn_type: mssql
  host: sql
  port: 1433
  extra_dejson:
    a: { b: [1] }
`
  it('is read as YAML', async () => {
    assert.deepEqual(await read('connections.yaml', yaml), { sales, lake })
    assert.deepEqual(await read('connections.yml', `\ufeff${yaml}`), { sales, lake })
    assert.deepEqual(await read('mounted-secret', yaml), { sales, lake })
  })

  it('is read as JSON', async () => {
    const json = JSON.stringify({
      sales: ['postgres://etl:s3cret@db/sales?sslmode=require'],
      lake: { conn_type: 'mssql', host: 'sql', port: '1433', extra: '{"a": {"b": [1]}}' },
    })
    assert.deepEqual(await read('connections.json', json), { sales, lake })
    assert.deepEqual(await read('c.JSON', json), { sales, lake })
  })

  it('is read as a .env file, as Airflow reads it', async () => {
    const env = `# a comment\r\n\n  \nsales=postgres://etl:s3cret@db/sales?sslmode=require\r\nlake={"conn_type": "mssql", "host": "sql", "port": 1433, "extra": {"a": {"b": [1]}}}\n`
    assert.deepEqual(await read('connections.env', env), { sales, lake })
    assert.deepEqual(await read('.env', env), { sales, lake })
  })

  it('as .env is refused with the lines that are wrong, and none of their text', async () => {
    const env = 'sales=postgres://u:hunter2@h\nhunter2\n=postgres://u:hunter2@h\nlake=\nsales=postgres://u:hunter2@h\n'
    await assert.rejects(read('c.env', env), (error) => {
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ['line 2', 'line 3', 'line 4', 'line 5'],
      )
      assert.ok(!inspect(error).includes('hunter2'))
      return true
    })
  })

  it('keeps integers above 2^53 exact in YAML and JSON', async () => {
    const { lake: fromYaml } = await read('c.yaml', 'lake: {type: mssql, extra: {a: 9007199254740993, b: 12}}\n')
    assert.deepEqual(fromYaml, { id: 'lake', type: 'mssql', extra: { a: '9007199254740993', b: 12 } })
    const { lake: fromJson } = await read('c.json', '{"lake": {"type": "mssql", "extra": {"a": 9007199254740993}}}')
    assert.deepEqual(fromJson, { id: 'lake', type: 'mssql', extra: { a: '9007199254740993' } })
  })

  it('may hold JSON text as a connection, and YAML merges', async () => {
    const text = `.base: &base {type: postgres, host: db}\na: '{"conn_type": "postgres", "host": "db"}'\nb:\n  <<: *base\n  port: 1\n`
    const { a, b } = await read('c.yaml', text)
    assert.deepEqual(a, { id: 'a', type: 'postgres', host: 'db', extra: {} })
    assert.deepEqual(b, { id: 'b', type: 'postgres', host: 'db', port: 1, extra: {} })
  })

  it('is refused for a duplicate key, at each level, with its line', async () => {
    await assert.rejects(
      read('c.yaml', 'a: postgres://h\nb: postgres://h\na: postgres://g\n'),
      /line 3: a key that stands twice/,
    )
    await assert.rejects(
      read('c.yaml', 'a:\n  host: h\n  type: postgres\n  host: g\n'),
      /line 4: a key that stands twice/,
    )
  })

  it('is read in a time that grows with its size, and no faster', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'connections.yaml')
    const lines = Array.from({ length: 80_000 }, (_, index) => `c${index}: postgres://etl@db/sales`)
    await writeFile(path, lines.join('\n'), { mode: 0o600 })
    const startedAt = performance.now()
    assert.equal((await readConnectionsFile(path)).connections.size, lines.length)
    // Quadratic, this would be most of a minute on a machine that does it in three seconds otherwise.
    assert.ok(performance.now() - startedAt < 25_000)
  })

  it('has an upper bound', async () => {
    await assert.rejects(read('c.json', Buffer.alloc(LARGEST_FILE + 1, ' ')), /it is larger than \d+ bytes/)
  })

  it('has an upper bound where it has no end either', { skip: process.platform === 'win32' }, async () => {
    await assert.rejects(readConnectionsFile('/dev/zero'), /it is larger than \d+ bytes/)
  })

  it('may be a pipe, as a shell makes for <(command)', { skip: process.platform === 'win32' }, async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'pipe')
    await promisify(execFile)('mkfifo', [path])
    const [{ connections }] = await Promise.all([readConnectionsFile(path), writeFile(path, yaml)])
    assert.deepEqual([...connections.keys()], ['sales', 'lake'])
  })

  it('may be empty', async () => {
    assert.deepEqual(await read('c.yaml', '# nothing yet\n'), {})
    assert.deepEqual(await read('c.json', '\n'), {})
    assert.deepEqual(await read('c.json', '{}'), {})
  })

  it('takes __proto__ for an id like any other', async () => {
    const json = '{"__proto__": "postgres://h"}'
    assert.deepEqual(Object.keys(await read('c.json', json)), ['__proto__'])
    assert.deepEqual(Object.keys(await read('c.yaml', json)), ['__proto__'])
  })

  it('names the connection that is wrong, and its file', async () => {
    await assert.rejects(read('c.yaml', 'sales:\n  conn_type: postgres\n  password: 0123\n'), (error) => {
      assert.ok(error instanceof ConfigError)
      assert.match(
        error.message,
        /^The connection "sales" in file .*c\.yaml is not valid: password: expected a string; put quotes/,
      )
      return true
    })
    for (const value of ['5', '[postgres://a, postgres://b]', '~', '[]']) {
      await assert.rejects(read('c.yaml', `sales: ${value}`), /The connection "sales" in file .* is not valid/)
    }
  })
})

describe('a broken connections file', () => {
  const secret = 'hunter2'
  const broken: readonly [string, string, string | Uint8Array, RegExp][] = [
    ['wrong indentation', 'c.yaml', `a:\n  password: ${secret}\n host: x\n`, /line 3: /],
    ['an open quote', 'c.yaml', `a: x\nb: "${secret}\n`, /line [23]: a missing character/],
    [
      'a key that stands twice',
      'c.yaml',
      `a: postgres://u:${secret}@h\nb: x\na: y\n`,
      /line 3: a key that stands twice/,
    ],
    ['a tab', 'c.yaml', `a:\n\tpassword: ${secret}\n`, /line 2: /],
    ['an unknown alias', 'c.yaml', `a: *${secret}\n`, /an alias/],
    ['an unknown tag', 'c.yaml', `a: b\nc: !${secret} x\n`, /line 2: an unknown tag/],
    ['two documents', 'c.yaml', `a: ${secret}\n---\nb: x\n`, /line 2: a second document/],
    [
      'several mistakes',
      'c.yaml',
      `a: "\\q${secret}"\nb: "\\q"\n`,
      /2 problems.*line 1: a wrong escape.*line 2: a wrong escape/s,
    ],
    ['a list', 'c.yaml', `- ${secret}\n`, /expected a mapping/],
    ['a text', 'c.yaml', secret, /expected a mapping/],
    ['aliases that multiply', 'c.yaml', `${bomb()}\npassword: ${secret}\n`, /aliases repeat each other too often/],
    ['a comma too many in JSON', 'c.json', `{\n"a": "${secret}",\n}`, /not valid JSON \(line 3\)/],
    ['JSON that breaks off', 'c.json', `{"a": "${secret}`, /not valid JSON/],
    ['a stray word in JSON', 'c.json', `{"a": ${secret}}`, /not valid JSON/],
    ['a JSON list', 'c.json', `["${secret}"]`, /expected a mapping/],
    ['bytes that are no UTF-8', 'c.yaml', Buffer.from([0x61, 0x3a, 0x20, 0xff]), /not UTF-8/],
  ]
  for (const [name, file, content, expected] of broken) {
    it(`${name}: is reported with its line, and the content is not repeated`, async () => {
      await assert.rejects(read(file, content), (error) => {
        assert.ok(error instanceof ConfigError)
        assert.match(error.message, expected)
        assert.match(error.message, /^The connections file .*c\.(yaml|json) is not valid/)
        assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(secret))
        return true
      })
    })
  }

  it('that is missing, or is a folder, is reported as that', async () => {
    await using folder = await temporaryFolder()
    await assert.rejects(
      readConnectionsFile(join(folder.path, 'none.yaml')),
      /none\.yaml is not valid: it does not exist/,
    )
    await mkdir(join(folder.path, 'c.yaml'))
    await assert.rejects(readConnectionsFile(join(folder.path, 'c.yaml')), /it is a folder/)
  })
})

/** Ten levels of ten aliases: ten thousand million nodes, were they followed. */
function bomb(): string {
  const levels = [...'abcdefghij']
  const rows = levels.map((name, index) => {
    const items = index === 0 ? Array(10).fill('x') : Array(10).fill(`*${levels[index - 1]}`)
    return `${name}: &${name} [${items.join(', ')}]`
  })
  return rows.join('\n')
}

describe('readableByOthers', () => {
  for (const [mode, expected] of [
    [0o600, false],
    [0o400, false],
    [0o640, true],
    [0o604, true],
    [0o620, true],
  ] as const) {
    it(`is ${expected} under mode ${mode.toString(8)}`, async () => {
      await using folder = await temporaryFolder()
      const path = join(folder.path, 'c.yaml')
      await writeFile(path, 'a: postgres://h\n')
      await chmod(path, mode)
      assert.equal((await readConnectionsFile(path)).readableByOthers, expected)
    })
  }
})

describe('which file counts', () => {
  it('is none that another user may have put into a shared folder, unless it is named', {
    skip: process.getuid?.() !== 0 && 'only root can give files away',
  }, async () => {
    await using folder = await temporaryFolder()
    const cwd = folder.path
    await chmod(cwd, 0o1777)
    const file = join(cwd, 'connections.yaml')
    const [mine, theirs] = [join(cwd, 'mine.yaml'), join(cwd, 'theirs.yaml')]
    for (const path of [mine, theirs]) await writeFile(path, '', { mode: 0o644 })
    await chown(theirs, 65_534, 65_534)
    const refused = (reason: RegExp) =>
      assert.rejects(locateConnectionsFile({ environment: {}, cwd }), (error) => {
        assert.ok(error instanceof ConfigError)
        assert.match(error.message, reason)
        assert.match(error.hint ?? '', /POOLSMITH_CONNECTIONS_FILE/)
        return true
      })

    await symlink(mine, file)
    await lchown(file, 65_534, 65_534)
    await refused(/connections\.yaml is not valid: it belongs to the user with the id 65534/)
    await rm(file)
    await symlink(theirs, file)
    await refused(/it belongs to the user with the id 65534/)
    await rm(file)
    await rename(theirs, file)
    await refused(/it belongs to the user with the id 65534, not to 0, in a folder where every user can make files/)
    assert.equal(await locateConnectionsFile({ environment: { POOLSMITH_CONNECTIONS_FILE: file }, cwd }), file)
    await chown(file, 0, 0)
    assert.equal(await locateConnectionsFile({ environment: {}, cwd }), file)
    await chmod(file, 0o666)
    await refused(/it may be written by other users/)
    await chmod(cwd, 0o755)
    await chown(file, 65_534, 65_534)
    assert.equal(await locateConnectionsFile({ environment: {}, cwd }), file)
  })

  it('is the one given, then the one the environment names, then the first default name that is there', async () => {
    await using folder = await temporaryFolder()
    const cwd = folder.path
    const environment = { POOLSMITH_CONNECTIONS_FILE: 'named.yaml' }
    assert.equal(await locateConnectionsFile({ environment: {}, cwd }), undefined)
    await writeFile(join(cwd, 'connections.json'), '{}')
    assert.equal(await locateConnectionsFile({ environment: {}, cwd }), join(cwd, 'connections.json'))
    await writeFile(join(cwd, 'connections.yml'), '')
    assert.equal(await locateConnectionsFile({ environment: {}, cwd }), join(cwd, 'connections.yml'))
    await writeFile(join(cwd, 'connections.yaml'), '')
    assert.equal(await locateConnectionsFile({ environment: {}, cwd }), join(cwd, 'connections.yaml'))
    assert.equal(await locateConnectionsFile({ environment, cwd }), join(cwd, 'named.yaml'))
    assert.equal(await locateConnectionsFile({ environment, cwd, file: '/etc/x.yaml' }), '/etc/x.yaml')
    assert.equal(
      await locateConnectionsFile({ environment: { POOLSMITH_CONNECTIONS_FILE: '' }, cwd }),
      join(cwd, 'connections.yaml'),
    )
  })
})
