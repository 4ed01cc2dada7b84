import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import { runCli } from '../../support/cli.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { freePort } from '../../support/free-port.ts'
import { createPki } from '../../support/pki.ts'
import { type PostgresServer, startPostgres } from '../../support/postgres.ts'

const PASSWORD = 'hunter2-and-more'
const stack = new AsyncDisposableStack()
let server: PostgresServer
/** The address of the server with the login of the role `etl`. */
let location: string
const files = { ca: '', certificate: '', key: '' }

before(async () => {
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  const pair = await pki.issue({ commonName: 'db.test', dns: ['localhost'], ip: ['127.0.0.1'] })
  const client = await pki.issue({ commonName: 'reporting', client: true })
  server = stack.use(
    await startPostgres({
      tls: { cert: pair.cert, key: pair.key, ca: pki.ca },
      hba: ['hostssl all reporting 127.0.0.1/32 cert', 'host all all 127.0.0.1/32 scram-sha-256'],
    }),
  )
  await server.sql(`create role etl login password '${PASSWORD}'; create role reporting login`)
  location = `postgres://etl:${PASSWORD}@127.0.0.1:${server.port}/postgres`
  for (const [name, content] of Object.entries({ ca: pki.ca, certificate: client.cert, key: client.key })) {
    const path = join(folder.path, name)
    await writeFile(path, content, { mode: 0o600 })
    files[name as keyof typeof files] = path
  }
})
after(() => stack.disposeAsync())

test('check shows server, strategy, identity, encryption and times, and never the password', async () => {
  const { code, stdout, stderr } = await runCli(['check', `${location}?sslmode=verify-full&sslrootcert=${files.ca}`])
  assert.equal(code, 0, stdout + stderr)
  assert.equal(stderr, '')
  assert.match(stdout, new RegExp(`server +PostgreSQL 18\\.\\d+ at 127\\.0\\.0\\.1:${server.port}, database postgres`))
  assert.match(stdout, /strategy +password \(by scram-sha-256-plus\)/)
  assert.match(stdout, /identity +etl/)
  assert.match(stdout, /encryption +TLSv1\.3, TLS_\w+, certificate and host name verified/)
  assert.match(stdout, /server certificate +CN=db\.test, until \d{4}-\d\d-\d\d /)
  assert.match(stdout, /credential +password, without a known expiry/)
  assert.match(stdout, /time +.*connect \d+ ms, tls \d+ ms, login \d+ ms/)
  assert.doesNotMatch(stdout, /hunter2/)
})

test('check looks an id up, and --json gives the same facts as one object', async () => {
  const { code, stdout, stderr } = await runCli(['check', 'warehouse', '--json'], {
    environment: {
      POOLSMITH_CONN_WAREHOUSE: `postgres://reporting@127.0.0.1:${server.port}/postgres?auth_method=ssl_cert&sslrootcert=${files.ca}&sslcert=${files.certificate}&sslkey=${files.key}`,
    },
  })
  assert.equal(code, 0, stdout + stderr)
  assert.equal(stderr, '')
  const answer = JSON.parse(stdout)
  assert.equal(answer.ok, true)
  assert.equal(answer.connection, 'warehouse')
  assert.equal(answer.strategy, 'ssl_cert')
  assert.equal(answer.identity, 'CN=reporting')
  assert.equal(answer.user, 'reporting')
  assert.equal(answer.server.type, 'postgres')
  assert.equal(answer.encryption.protocol, 'TLSv1.3')
  assert.equal(answer.encryption.verified, 'hostname')
  assert.equal(answer.encryption.clientCertificate.subject, 'CN=reporting')
  assert.equal(answer.credential.kind, 'certificate')
  assert.ok(Date.parse(answer.credential.expiresAt) > Date.now())
  for (const phase of ['connect', 'tls', 'login', 'total']) assert.equal(typeof answer.timingsMillis[phase], 'number')
})

/** A port that takes connections and never says a word. */
async function silentPort(): Promise<{ port: number; connected: Promise<unknown> } & AsyncDisposable> {
  const sockets = new Set<Socket>()
  const silent = createServer((socket) => sockets.add(socket.on('error', () => undefined)))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  return {
    port,
    connected: once(silent, 'connection'),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      silent.close()
      await once(silent, 'close')
    },
  }
}

const failures: Record<string, { connection: () => string | Promise<string>; phase: keyof typeof PHASE_EXIT_CODES }> = {
  'an unknown id': { connection: () => 'nowhere', phase: 'config' },
  'a slip in a key': { connection: () => `${location}?sslmod=require`, phase: 'config' },
  'a strategy that nobody has': { connection: () => `${location}?auth_method=magic`, phase: 'config' },
  'a host that does not exist': {
    connection: () => `postgres://etl:${PASSWORD}@nowhere.invalid/postgres`,
    phase: 'dns',
  },
  'a port where nobody listens': {
    connection: async () => `postgres://etl:${PASSWORD}@127.0.0.1:${await freePort()}/postgres`,
    phase: 'connect',
  },
  'a certificate that nobody signed': {
    connection: () => `${location}?sslmode=verify-full&sslrootcert=system`,
    phase: 'tls',
  },
  'a wrong password': { connection: () => location.replace(PASSWORD, 'hunter2-but-wrong'), phase: 'login' },
}
for (const [what, { connection, phase }] of Object.entries(failures)) {
  test(`${what} fails in the phase ${phase} with its own exit code, the cause and what to do`, async () => {
    const args = ['check', await connection(), '--timeout', '20']
    const [plain, json] = await Promise.all([runCli(args), runCli([...args, '--json'])])
    assert.equal(plain.code, PHASE_EXIT_CODES[phase], plain.stderr)
    assert.equal(plain.stdout, '')
    assert.match(plain.stderr, new RegExp(`poolsmith check: failed at ${phase} \\([A-Z_]+\\)\n  cause +\\S`))
    assert.match(plain.stderr, /\n {2}what to do +\S/)
    assert.doesNotMatch(plain.stderr, /hunter2|\n +at /)

    const answer = JSON.parse(json.stdout)
    assert.equal(json.stderr, '')
    assert.equal(json.code, PHASE_EXIT_CODES[phase])
    assert.equal(answer.exitCode, PHASE_EXIT_CODES[phase])
    assert.equal(answer.error.phase, phase)
    assert.doesNotMatch(json.stdout, /hunter2/)
  })
}

test('--timeout ends the wait for a server that does not answer, and names the phase', async () => {
  await using silent = await silentPort()
  const { code, stdout } = await runCli([
    'check',
    `postgres://etl:${PASSWORD}@127.0.0.1:${silent.port}/postgres?sslmode=disable`,
    '--timeout',
    '0.5',
    '--json',
  ])
  const { error } = JSON.parse(stdout)
  assert.equal(error.phase, 'login')
  assert.equal(code, PHASE_EXIT_CODES.login)
})

test('Ctrl-C ends a check that hangs, with exit code 130', async () => {
  await using silent = await silentPort()
  const { code, stderr } = await runCli(
    ['check', `postgres://etl:${PASSWORD}@127.0.0.1:${silent.port}/postgres?sslmode=disable`],
    { interrupt: { when: silent.connected, signal: 'SIGINT' } },
  )
  assert.equal(code, 130)
  assert.equal(stderr, 'poolsmith check: interrupted\n')
})

for (const [signal, expected] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`under --json ${signal} is reported with the exit code of the program`, async () => {
    await using silent = await silentPort()
    const { code, stdout } = await runCli(
      ['check', `postgres://etl:${PASSWORD}@127.0.0.1:${silent.port}/postgres?sslmode=disable`, '--json'],
      { interrupt: { when: silent.connected, signal } },
    )
    const { ok, error, exitCode } = JSON.parse(stdout)
    assert.deepEqual([ok, error.code, exitCode, code], [false, 'ABORTED', expected, expected])
  })
}

test('on a terminal it colours its result and keeps within the columns; NO_COLOR takes the colours away', async () => {
  const args = ['check', `${location}?sslmode=verify-full&sslrootcert=${files.ca}`]
  const environment = { TERM: 'xterm-256color' }
  const [coloured, plain] = await Promise.all([
    runCli(args, { terminal: true, environment }),
    runCli(args, { terminal: true, environment: { ...environment, NO_COLOR: '1' } }),
  ])
  assert.equal(coloured.code, 0, coloured.stdout)
  assert.ok(coloured.stdout.includes('\x1b[32m'))
  assert.equal(plain.code, 0)
  assert.ok(!plain.stdout.includes('\x1b'))
  for (const line of plain.stdout.split('\r\n')) assert.ok(line.length <= 80, line)
})
