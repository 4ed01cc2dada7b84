import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { access, chmod, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { within } from '../../../../src/abort.ts'
import { PoolsmithError } from '../../../../src/errors.ts'
import { keyPlace, readKeys } from '../../../../src/stores/encrypted/key.ts'
import { temporaryFolder } from '../../../support/folder.ts'
import { findSecrets } from '../../../support/object-graph.ts'

const signal = AbortSignal.timeout(60_000)
const isWindows = process.platform === 'win32'
const bytes = randomBytes(32)
const base64 = bytes.toString('base64')

/** Whether a process is there and is not waiting for its parent to notice its end. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return stat !== undefined && !/\) [ZX] /.test(stat)
}

type Environment = Readonly<Record<string, string>>

async function keysOf(environment: Environment, file?: string, given = signal): Promise<readonly Buffer[]> {
  const keys = await readKeys(keyPlace(file, { PATH: process.env.PATH, ...environment }), given)
  return keys.map((key) => key.export())
}

const refused = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof PoolsmithError)
  assert.equal(error.code, code, error.message)
  assert.match(error.message, message)
  assert.ok(error.hint)
  assert.deepEqual(findSecrets(error, [base64, 'not a key at all']), [])
  return true
}

test('a key is 32 bytes in Base64 or hexadecimal, and several may be given', async () => {
  for (const text of [base64, bytes.toString('base64url'), bytes.toString('hex'), `${base64}\n`, ` ${base64} `]) {
    assert.deepEqual(await keysOf({ POOLSMITH_SECRETS_KEY: text }), [bytes])
  }
  const other = randomBytes(32)
  for (const between of [',', '\n', ' , ']) {
    const text = `${other.toString('hex')}${between}${base64}`
    assert.deepEqual(await keysOf({ POOLSMITH_SECRETS_KEY: text }), [other, bytes])
  }
})

test('a text that is no key is refused without showing it', async () => {
  const texts = ['not a key at all', bytes.subarray(1).toString('base64'), `${base64}AAAA`, `${base64},short`, ' ']
  for (const text of [...texts, Array.from({ length: 9 }, () => base64).join(',')]) {
    const error = refused('ENCRYPTED_KEY_INVALID', /POOLSMITH_SECRETS_KEY gives/)
    await assert.rejects(keysOf({ POOLSMITH_SECRETS_KEY: text }), error)
  }
})

test('a key file is read through links, and one that others may read is refused', { skip: isWindows }, async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'key')
  await writeFile(file, `${base64}\n`, { mode: 0o600 })
  await symlink('key', join(folder.path, 'link'))
  assert.deepEqual(await keysOf({}, join(folder.path, 'link')), [bytes])
  assert.deepEqual(await keysOf({ POOLSMITH_SECRETS_KEY_FILE: file }), [bytes])
  // The file that the connection names comes before the environment.
  assert.deepEqual(await keysOf({ POOLSMITH_SECRETS_KEY: 'other' }, file), [bytes])
  for (const mode of [0o644, 0o604, 0o620]) {
    await chmod(file, mode)
    await assert.rejects(keysOf({}, file), refused('SECRET_FILE_REFUSED', /by other users/))
  }
  await assert.rejects(keysOf({}, `${file}s`), refused('ENCRYPTED_KEY_MISSING', /keys does not exist/))
  await assert.rejects(keysOf({}, folder.path), refused('SECRET_FILE_REFUSED', /not a regular file/))
})

test('one place is named, not none and not two', () => {
  assert.throws(() => keyPlace(undefined, {}), refused('ENCRYPTED_KEY_MISSING', /No key/))
  const two = { POOLSMITH_SECRETS_KEY: base64, POOLSMITH_SECRETS_KEY_COMMAND: 'cat key' }
  assert.throws(
    () => keyPlace(undefined, two),
    refused('ENCRYPTED_KEY_MISSING', /Several keys.*: by POOLSMITH_SECRETS_KEY and POOLSMITH_SECRETS_KEY_COMMAND\.$/),
  )
})

test('a command prints the key', { skip: isWindows }, async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'key')
  await writeFile(file, `${base64}\n`)
  assert.deepEqual(await keysOf({ POOLSMITH_SECRETS_KEY_COMMAND: `cat '${file}' | tr -d ' '` }), [bytes])
  const command = (text: string) => keysOf({ POOLSMITH_SECRETS_KEY_COMMAND: text })
  await assert.rejects(command(`echo '${base64}'; exit 3`), refused('ENCRYPTED_KEY_INVALID', /exit code 3/))
  await assert.rejects(command('true'), refused('ENCRYPTED_KEY_INVALID', /gives no key/))
  await assert.rejects(command('yes'), refused('ENCRYPTED_KEY_INVALID', /more than 4096 bytes/))
})

test('a command that does not end is stopped with what it has started', {
  skip: process.platform !== 'linux',
}, async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'pid')
  const abort = new AbortController()
  const text = `sleep 600 & echo $! > '${file}.new'; mv '${file}.new' '${file}'; wait`
  const reading = keysOf({ POOLSMITH_SECRETS_KEY_COMMAND: text }, undefined, abort.signal)
  const pid = Number(await eventually(() => readFile(file, 'utf8').catch(() => undefined)))
  abort.abort(new Error('enough'))
  await assert.rejects(reading, /enough/)
  await eventually(async () => ((await isRunning(pid)) ? undefined : true))
})

test('a command that has ended holds nothing up, although a program that it has left behind holds its output', {
  skip: process.platform !== 'linux',
}, async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'pids')
  const abort = new AbortController()
  const text = `sleep 600 & echo $$ $! > '${file}.new'; mv '${file}.new' '${file}'; echo '${base64}'`
  const reading = keysOf({ POOLSMITH_SECRETS_KEY_COMMAND: text }, undefined, abort.signal)
  const pids = await eventually(() => readFile(file, 'utf8').catch(() => undefined))
  const [shell = 0, left = 0] = pids.split(' ').map(Number)
  try {
    // Node has taken note of its end once the process is gone as a whole.
    await eventually(() =>
      access(`/proc/${shell}`).then(
        () => undefined,
        () => true,
      ),
    )
    abort.abort(new Error('enough'))
    await assert.rejects(within(reading, 20_000), /enough/)
  } finally {
    if (await isRunning(left)) process.kill(left)
  }
})

async function eventually<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const seen = await look()
    if (seen !== undefined) return seen
    signal.throwIfAborted()
    await sleep(20)
  }
}
