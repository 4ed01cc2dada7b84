/** Names, server words and ids that try to take over the terminal or to forge lines of the output. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Secret } from '../../../src/secret.ts'
import { EncryptedFile } from '../../../src/stores/encrypted/file.ts'
import { poolsmith } from '../../support/cli-in-process.ts'
import { authentication, errorResponse, int32, message, startFakePostgres } from '../../support/fake-postgres.ts'
import { temporaryFolder } from '../../support/folder.ts'

const SIGNAL = AbortSignal.timeout(60_000)
const HOSTILE = '\x1b[2J\x1b]0;owned\x07\x9b31m\nidentity  root\r\u202e'
const cstring = (text: string): Buffer => Buffer.from(`${text}\0`)

/** The answer to `show extra_float_digits`. */
const SHOWN = Buffer.concat([
  message(
    'T',
    Buffer.from([0, 1]),
    cstring('x'),
    int32(0),
    Buffer.alloc(2),
    int32(25),
    Buffer.from([255, 255]),
    int32(-1),
    Buffer.alloc(2),
  ),
  message('D', Buffer.from([0, 1]), int32(1), Buffer.from('3')),
  message('C', cstring('SHOW')),
  message('Z', Buffer.from('I')),
])

function assertTame(text: string): void {
  assert.ok(!/[^\P{Cc}\n]|[\u202a-\u202e\u2028\u2029]/u.test(text), JSON.stringify(text))
  assert.ok(!/^identity {2}root/m.test(text), `a forged line: ${text}`)
}

test('check shows the words of a server on their own line, without control characters', async () => {
  await using server = await startFakePostgres(async (peer) => {
    await peer.startup()
    const version = message('S', cstring('server_version'), cstring(`15.0${HOSTILE}`))
    const rest = [message('K', int32(4711), int32(99)), message('Z', Buffer.from('I'))]
    peer.send(Buffer.concat([authentication(0), version, ...rest]))
    // A session asks for one setting before it is handed out.
    while ((await peer.message()).type === 'Q') peer.send(SHOWN)
  })
  const uri = `postgres://etl@127.0.0.1:${server.port}/x?sslmode=disable`
  const text = await poolsmith(['check', uri])
  assert.equal(text.code, 0, text.log)
  assert.match(text.out, /PostgreSQL 15\.0\\x1b\[2J/)
  assertTame(text.out + text.log)
  assertTame((await poolsmith(['check', uri, '--json'])).out)
})

test('check shows the refusal of a server without control characters', async () => {
  await using server = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.send(errorResponse({ C: '28000', M: `no${HOSTILE}`, H: `do${HOSTILE}` }))
  })
  const uri = `postgres://etl@127.0.0.1:${server.port}/x?sslmode=disable`
  for (const args of [
    ['check', uri],
    ['check', uri, '--json'],
  ]) {
    const { code, out, log } = await poolsmith(args)
    assert.equal(code, 10, out + log)
    assertTame(out + log)
  }
})

test('connections and rotation list ids and values from the environment and the file without control characters', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'connections.json')
  const uri = 'postgres://etl@db/sales'
  await writeFile(file, JSON.stringify({ [`x${HOSTILE}`]: uri, y: `postgres://u${HOSTILE}@db`, z: `oracle${HOSTILE}` }))
  const environment = { [`POOLSMITH_CONN_A${HOSTILE}`]: uri, AIRFLOW_CONN_B: `postgres://x/?${HOSTILE}=1` }
  for (const args of [
    ['connections', '--connections', file],
    ['connections', '--connections', file, '--json'],
    ['rotation', '--connections', file, '--offline'],
    ['rotation', '--connections', file, '--offline', '--json'],
  ]) {
    const { out, log } = await poolsmith(args, environment)
    assertTame(out + log)
  }
})

test('arguments are shown without control characters', async () => {
  for (const args of [
    [`chk${HOSTILE}`],
    ['check', 'a', `b${HOSTILE}`],
    ['check', `--x${HOSTILE}`],
    ['check', 'a', '--timeout', HOSTILE],
    ['check', `no-such${HOSTILE}`],
    ['connections', '--connections', `/no/such${HOSTILE}`],
    ['extract', 'a', `t${HOSTILE}`, '--to', '/tmp', '--format', HOSTILE],
    ['ticket', `x${HOSTILE}`],
  ]) {
    for (const form of [args, [...args, '--json']]) {
      const { code, out, log } = await poolsmith(form)
      assert.notEqual(code, 0)
      assertTame(out + log)
    }
  }
})

test('secrets lists the names that a file or a store has on lines of their own, without control characters', async () => {
  await using folder = await temporaryFolder()
  const name = `x${HOSTILE}`
  const environment = {
    POOLSMITH_SECRETS_FILE: join(folder.path, 'secrets'),
    POOLSMITH_SECRETS_KEY: randomBytes(32).toString('base64'),
  }
  const file = new EncryptedFile({ path: environment.POOLSMITH_SECRETS_FILE, environment })
  const fields = new Map([name, 'password'].map((field) => [field, new Secret('the-value')]))
  const entry = { fields, version: 1, writtenAt: '2026-11-29T12:00:00Z' }
  await file.update(
    (contents) => ({
      ...contents,
      entries: new Map([
        [name, entry],
        ['sales', entry],
      ]),
    }),
    SIGNAL,
  )
  for (const args of [
    ['secrets', 'list'],
    ['secrets', 'list', 'encrypted:sales'],
    ['secrets', 'set', 'encrypted:sales'],
  ]) {
    const { out, log } = await poolsmith(args, environment, 'another\n')
    assert.match(out + log, /forged|identity {2}root/)
    assertTame(out + log)
  }
})
