/**
 * Each text as its original programs read it. originals.jsonl has what they made of it when they were run (libpq, pgjdbc,
 * SqlClient, Microsoft's ODBC driver, go-mssqldb, node-mssql, Prisma, ...; the documented ones say so), and `ours`: `read`,
 * `id` for a text that is looked up as an id, or the path of the problem for which it is refused.
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { serverAddress } from '../../../../src/connections/fields.ts'
import { isConnectionText } from '../../../../src/connections/forms/forms.ts'
import { hostsOf, isHostList } from '../../../../src/connections/host-list.ts'
import { readConnection } from '../../../../src/connections/parse.ts'
import { configure } from '../../../../src/engine/configure.ts'
import { ConfigError, type ConfigProblem } from '../../../../src/errors.ts'
import { strategies } from '../../../../src/strategies/index.ts'

const PARTS = ['host', 'port', 'database', 'login', 'password'] as const
type Parts = Partial<Record<(typeof PARTS)[number] | 'instance', string>>

interface Reading extends Parts {
  readonly by: readonly string[]
  readonly refuses?: boolean
  /** The server as it was written, where the program takes it apart only later. */
  readonly server?: string
}

interface Row {
  readonly form: string
  readonly text: string
  readonly ours: string
  readonly readings: readonly Reading[]
}

const ROWS = readFileSync(new URL('originals.jsonl', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as Row)

/** The parts that decide where the session goes, in one spelling. */
function partsOf({ server, ...reading }: Parts & Pick<Reading, 'server'>): Parts {
  const address = server === undefined ? undefined : serverAddress(server)
  assert.notEqual(typeof address, 'string', server)
  const { host = 'localhost', port, instance } = typeof address === 'object' ? address : reading
  const isDefault = port === undefined || /^(1433|5432|,+)$/.test(String(port))
  return {
    // Empty is the default of every program, `.` and `(local)` are this machine, and some keep the brackets of IPv6.
    host: host === '.' || host === '(local)' ? 'localhost' : host.replace(/^\[(.*)\]$/, '$1'),
    port: isDefault ? undefined : String(port),
    // A port takes precedence, and the case of an instance does not count.
    instance: isDefault ? instance?.toLowerCase() : undefined,
    database: reading.database,
    login: reading.login,
    password: reading.password,
  }
}

function ourParts(text: string): Parts {
  const { connection, problems } = readConnection(text)
  assert.ok(connection, inspect(problems))
  const { host, port, database, login, password, extra } = connection
  const instance = typeof extra['instance_name'] === 'string' ? extra['instance_name'] : undefined
  if (isHostList(host) && port === undefined) {
    const hosts = hostsOf({ host })
    const ports = hosts.map((one) => one.port ?? '').join(',')
    return partsOf({
      host: hosts.map((one) => one.host).join(','),
      port: ports,
      database,
      login,
      password: password?.reveal(),
    })
  }
  return partsOf({ host, port: port?.toString(), instance, database, login, password: password?.reveal() })
}

async function problemsOf(text: string): Promise<readonly ConfigProblem[]> {
  const { connection, problems, closed } = readConnection(text)
  if (connection === undefined) return problems
  try {
    await configure(connection, { registry: strategies, environment: {}, closed })
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError, inspect(error))
    return error.problems
  }
}

for (const { form, text, ours, readings } of ROWS) {
  const name = `${form}: ${JSON.stringify(text)}`
  const accepted = readings.filter(({ refuses }) => refuses !== true)
  if (ours === 'id') test(`${name} is no connection string`, () => assert.equal(isConnectionText(text), false))
  else if (ours === 'read') {
    test(`${name} is read as by ${accepted.flatMap(({ by }) => by).join(', ')}`, () => {
      assert.ok(accepted.length > 0)
      for (const { by, ...reading } of accepted) assert.deepEqual(ourParts(text), partsOf(reading), by.join())
    })
  } else {
    test(`${name} is refused at ${ours || 'the root'} without the password`, async () => {
      const problems = await problemsOf(text)
      assert.ok(
        problems.some(({ path }) => path === ours),
        inspect(problems),
      )
      const shown = inspect(problems)
      for (const { password = '' } of readings) {
        if (password.length > 2) assert.ok(!shown.includes(password), shown)
      }
    })
  }
}

test('a text of which two programs make another server, database, user or password is refused with both readings', async () => {
  const unlike = ROWS.filter(({ readings }) => {
    const parts = readings
      .filter(({ refuses, server }) => refuses !== true && typeof serverAddress(server ?? '.') !== 'string')
      .map((reading) => PARTS.map((part) => partsOf(reading)[part]))
    return new Set(parts.map((part) => JSON.stringify(part))).size > 1
  })
  assert.ok(unlike.length > 15)
  for (const { text, ours } of unlike) {
    assert.notEqual(ours, 'read', text)
    if (ours === 'id') continue
    const messages = (await problemsOf(text)).map(({ message }) => message).join('\n')
    // Named pipes, local databases, lists of hosts and quotes that do not end are refused whatever they mean.
    assert.match(
      messages,
      /read differently|without a word|not reached by TCP|several hosts|expected host|quotes/,
      text,
    )
  }
})
