/**
 * Strings that a server sends, cut off at each character, with NUL, half a surrogate pair or control characters, and a
 * million characters long: an error or a session, never a crash, a hang, or a message that is endless or shows a secret.
 */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../src/errors.ts'
import { damages, truncations } from '../support/bad-strings.ts'
import { authentication, errorResponse, message, type Peer, startFakePostgres } from '../support/fake-postgres.ts'
import { createPki } from '../support/pki.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { open, password } from '../support/tds/driver.ts'
import { sqlServerSetup, driverFor as tdsDriverFor } from '../support/tds/setup.ts'

const PASSWORD = 'Pa55word-of-the-login'
const LIMIT_MILLIS = 60_000

/** Looks at all that an attempt shows. */
async function assertTame(attempt: Promise<unknown>, where: string): Promise<PoolsmithError | undefined> {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error === undefined) return undefined
  assert.ok(error instanceof PoolsmithError, `${where}: ${inspect(error)}`)
  assert.notEqual(error.code, 'ABORTED', `${where} hangs`)
  const told = `${error.message}${error.hint}${JSON.stringify(error)}`
  assert.ok(told.length < 20_000, `${where}: ${told.length} characters`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
  assert.doesNotMatch(error.message + error.hint, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/, where)
  assert.ok(!`${told}${inspect(error, { depth: 9 })}`.includes(PASSWORD), `${where}: ${told.slice(0, 500)}`)
  return error
}

/** Text of a protocol ends at NUL, so a NUL in it cuts it off or begins a field that is none. */
const cstring = (text: string): Buffer => Buffer.from(`${text}\0`)

type Script = (peer: Peer, text: string) => void | Promise<void>

/** Each string that PostgreSQL's login carries, with a value as a server sends it. */
const STRINGS: Readonly<Record<string, readonly [sample: string, send: Script]>> = {
  ...Object.fromEntries(
    ['M', 'D', 'H', 'C', 'R', 'S', 'W'].map((field): [string, readonly [string, Script]] => [
      `the field ${field} of an error`,
      [
        field === 'C' ? '28P01' : 'password authentication failed for "etl"',
        (peer, text) => peer.send(errorResponse({ C: '28P01', M: 'no', [field]: text })),
      ],
    ]),
  ),
  'an error in the old format': ['could not fork new process', (peer, text) => peer.send(Buffer.from(`E${text}\n\0`))],
  'the mechanisms of SASL': [
    'SCRAM-SHA-256',
    (peer, text) => peer.send(message('R', Buffer.from([0, 0, 0, 10]), cstring(text), cstring(''))),
  ],
  'the first message of SCRAM': [
    'r=fyko+d2lbbFgONRv9qkxdawLHo,s=QSXCR+Q6sek8bf92,i=4096',
    async (peer, text) => {
      peer.send(message('R', Buffer.from([0, 0, 0, 10]), cstring('SCRAM-SHA-256'), cstring('')))
      await peer.message()
      peer.send(message('R', Buffer.from([0, 0, 0, 11]), Buffer.from(text)))
    },
  ],
  'a setting': [
    'server_version=15.4 (Debian)',
    (peer, text) => {
      const [name = '', value = ''] = text.split('=')
      peer.send(Buffer.concat([authentication(0), message('S', cstring(name), cstring(value))]))
    },
  ],
  'a notice': [
    'a login trigger says hello',
    (peer, text) =>
      peer.send(
        Buffer.concat([authentication(0), message('N', cstring(`SNOTICE`), cstring(`M${text}`), Buffer.alloc(1))]),
      ),
  ],
}

describe('PostgreSQL', () => {
  for (const [what, [sample, send]] of Object.entries(STRINGS)) {
    test(`${what}, cut off, damaged or enormous`, async () => {
      let text = ''
      await using server = await startFakePostgres(async (peer) => {
        await peer.startup()
        await send(peer, text)
        peer.end()
      })
      const target = { host: server.host, port: server.port, login: 'etl', database: 'postgres' }
      for (text of [...truncations(sample), sample, ...damages(sample)]) {
        const { driver } = driverFor(target, { sslmode: 'disable' })
        const attempt = openSession(driver, passwordCredential(PASSWORD), AbortSignal.timeout(LIMIT_MILLIS))
        await assertTame(
          attempt.then((session) => session[Symbol.asyncDispose]()),
          `${what}: ${JSON.stringify(text.slice(0, 80))}`,
        )
      }
    })
  }

  test('a password that a server repeats is not shown', async () => {
    const pki = await createPki()
    const certificate = await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] })
    for (const field of ['M', 'D', 'H']) {
      await using server = await startFakePostgres(async (peer) => {
        await peer.tls(certificate)
        await peer.first()
        peer.send(authentication(3))
        const { body } = await peer.message()
        const heard = body.toString('utf8').replace('\0', '')
        peer.send(errorResponse({ C: '28P01', M: 'refused', [field]: `the password "${heard}" is wrong` }))
        peer.end()
      })
      const target = { host: server.host, port: server.port, login: 'etl', database: 'postgres' }
      const { driver } = driverFor(target, { sslmode: 'require' })
      const attempt = openSession(driver, passwordCredential(PASSWORD), AbortSignal.timeout(LIMIT_MILLIS))
      const error = await assertTame(attempt, `the field ${field}`)
      assert.equal(error?.code, 'LOGIN_REFUSED')
    }
  })
})

describe('SQL Server', async () => {
  const { caFile, start } = await sqlServerSetup()
  const attempt = (port: number) => {
    const { driver } = tdsDriverFor({ port } as Parameters<typeof tdsDriverFor>[0], caFile)
    return open(driver, password('sa', PASSWORD), LIMIT_MILLIS).then(({ raw }) => driver.close(raw))
  }

  test('the text of an error, cut off, damaged or enormous, and one that repeats the password', async () => {
    await using server = await start()
    const sample = "Login failed for user 'sa'."
    // One packet: sqlserver-logins.test.ts has an error that takes several.
    const texts = [...truncations(sample), ...damages(sample).map((text) => text.slice(0, 200))]
    for (const text of [...texts, `The password ${PASSWORD} is wrong.`]) {
      server.faults.add({ at: 'login', fault: { do: 'refuse', number: 18_456, message: text }, times: 1 })
      const error = await assertTame(attempt(server.port), JSON.stringify(text.slice(0, 80)))
      assert.equal(error?.code, 'LOGIN_REFUSED')
    }
  })
})
