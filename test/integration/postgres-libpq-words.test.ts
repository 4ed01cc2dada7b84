/** Words of libpq that do not protect a connection: limits, addresses, probes, names. psql is the oracle. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { type Case, compareWithPsql } from '../support/beside-psql.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'

const PASSWORD = 'a p4ssword'
const user = 'etl'

let server: PostgresServer
before(async () => {
  server = await startPostgres({ hba: ['host all all 127.0.0.1/32 scram-sha-256'] })
  await server.sql(`create role etl login password '${PASSWORD}'`)
})
after(() => server[Symbol.asyncDispose]())

const compare = (cases: readonly Case[], sql = 'select 1'): Promise<void> =>
  compareWithPsql(cases, { server, password: PASSWORD, sql })

test('connect_timeout: a negative number is no limit, as zero is', async () => {
  const values = ['-1', ' -30 ', '0', '10', 'soon', '1x']
  await compare(values.map((connect_timeout) => ({ user, extra: { connect_timeout } })))
})

test('hostaddr is an address in any form of numbers, and no name', async () => {
  const addresses = ['127.0.0.1', '127.1', '0x7f.1', '0177.0.0.1', '2130706433', '::ffff:127.0.0.1']
  await compare(addresses.map((hostaddr) => ({ user, host: 'nowhere.invalid', extra: { hostaddr } })))
  const others = ['localhost', '127.0.0.256', '127.0.0.1.1', '4294967296', '127..1', '127.0.0.08', '[::1]']
  await compare(others.map((hostaddr) => ({ user, extra: { hostaddr }, code: 'CONFIG_INVALID' })))
})

test('hostaddr beside the folder of a Unix socket is refused', () => {
  assert.throws(() => driverFor({ host: '/run/postgresql', login: user }, { hostaddr: '127.0.0.1' }), {
    code: 'CONFIG_INVALID',
    message: /hostaddr: is of no use/,
  })
})

test('keepalives_idle=0 leaves the time before the first probe to the system', async () => {
  const target = { host: '127.0.0.1', port: server.port, login: user, database: 'postgres' }
  const { driver } = driverFor(target, { keepalives_idle: '0' })
  await using session = await openSession(driver, passwordCredential(PASSWORD))
  const { rows } = await session.client.query('select inet_client_port() as port')
  if (process.platform !== 'linux') return
  const port = Number(rows[0].port).toString(16).toUpperCase().padStart(4, '0')
  const sockets = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/))
  const [kind = '', left = ''] = sockets.find(([, local]) => local?.endsWith(`:${port}`))?.[5]?.split(':') ?? []
  const systemSeconds = Number(await readFile('/proc/sys/net/ipv4/tcp_keepalive_time', 'utf8'))
  assert.equal(kind, '02', 'the timer of probes runs')
  assert.ok(Number.parseInt(left, 16) / 100 > systemSeconds / 2)
})

test('the name of the application: application_name, else fallback_application_name, else ours', async () => {
  const shown = async (extra: Record<string, string>): Promise<string> => {
    const target = { host: '127.0.0.1', port: server.port, login: user, database: 'postgres' }
    await using session = await openSession(driverFor(target, extra).driver, passwordCredential(PASSWORD))
    const { rows } = await session.client.query('show application_name')
    return rows[0].application_name
  }
  assert.equal(await shown({ fallback_application_name: 'nightly' }), 'nightly')
  assert.equal(await shown({ fallback_application_name: 'nightly', application_name: 'report' }), 'report')
  assert.equal(await shown({}), 'poolsmith')
})

test('client_encoding is UTF8 under each of its names, and no other encoding', async () => {
  const extras = ['UTF8', 'utf-8', 'Unicode'].map((client_encoding) => ({ client_encoding }))
  await compare(
    extras.map((extra) => ({ user, extra })),
    'show client_encoding',
  )
  await compare([{ user, extra: { client_encoding: 'latin1' }, stricter: 'CONFIG_INVALID' }])
})

test('more than a million SCRAM iterations are calculated, as by psql', async () => {
  await server.sql(`set scram_iterations = 1500000; create role slow login password '${PASSWORD}'`)
  await compare([
    { user: 'slow', extra: {} },
    { user: 'slow', extra: {}, password: 'wrong', code: 'LOGIN_REFUSED' },
  ])
})

test('gssencmode=prefer does not hide that the server offers no TLS', async () => {
  for (const extra of [{ sslmode: 'require' }, { sslrootcert: 'system' }]) {
    const target = { host: '127.0.0.1', port: server.port, login: user }
    const { driver } = driverFor(target, { gssencmode: 'prefer', ...extra })
    const error = await openingError(driver, passwordCredential(PASSWORD))
    assert.equal(error.code, 'TLS_NOT_OFFERED', error.message)
    assert.match(error.message, /does not offer TLS.*Before that, with GSSAPI encryption/)
  }
  const { stderr } = await psql(['-c', 'select 1', `host=127.0.0.1 port=${server.port} user=etl sslmode=require`])
  assert.match(stderr, /does not support SSL/)
})
