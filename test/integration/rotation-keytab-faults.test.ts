/** Keytabs that cannot be rotated, and rotations that fail at a step: the old key goes on to work. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { chmod, chown, copyFile, readFile, symlink, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'
import { readKeytab } from '../../src/kerberos/keytab-file.ts'
import { besideKeytab, readPending } from '../../src/kerberos/pending-key.ts'
import { type RotateKeytabOptions, rotateKeytab } from '../../src/rotation/index.ts'
import { linesOf } from '../support/audit.ts'
import { poolsmith } from '../support/cli-in-process.ts'
import { type Kadmind, startKadmind } from '../support/kadmind.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'
import { findSecrets } from '../support/object-graph.ts'
import { OTHER_USERS } from '../support/unprivileged.ts'

const stores = { environment: {} }
const isRoot = process.getuid?.() === 0

let kdc: Kdc
let kadmind: Kadmind

before(async () => {
  kdc = await startKdc()
  enterRealm(kdc)
  await kdc.addPrincipal('boss')
  kadmind = await startKadmind(kdc, ['boss'])
})
after(async () => {
  await kadmind?.stop()
  await kdc?.[Symbol.asyncDispose]()
})

function recordOf(principal: string | undefined, keytab: string) {
  const extra = { auth_method: 'kerberos', keytab, ...(principal === undefined ? {} : { principal }) }
  return { type: 'postgres', host: '127.0.0.1', port: 1, login: 'etl', database: 'x', extra } as const
}

async function failure(record: ReturnType<typeof recordOf>, options: RotateKeytabOptions = {}) {
  const error = await rotateKeytab(record, { stores, ...options }).catch((reason: unknown) => reason)
  assert.ok(error instanceof PoolsmithError, inspect(error))
  return error
}

test('a password that the policy of the realm refuses leaves the old key working, and is not told', {
  timeout: 60_000,
}, async () => {
  await kdc.kadmin('addpol -minlength 20 -minclasses 3 -history 3 strict')
  await kdc.addPrincipal('strict', { arguments: ['-policy', 'strict'], password: 'The-first-password-of-all-1' })
  const keytab = await kdc.keytab('strict')
  const record = recordOf('strict', keytab)
  const before = await readFile(keytab)
  const told: unknown[] = []
  const audit = { record: async (facts: unknown) => void told.push(facts) }
  const refused = ['Short-1', 'onlysmalllettersinthisone', 'The-first-password-of-all-1']
  const words: string[] = []
  for (const password of refused) {
    const error = await failure(record, { audit, generate: () => password })
    told.push(error)
    assert.deepEqual([error.code, error.details['step']], ['ROTATION_REFUSED', 'alter'])
    words.push(error.message)
    assert.deepEqual(await readFile(keytab), before)
    assert.equal(existsSync(besideKeytab(keytab).pending), false)
  }
  assert.match(words[0] ?? '', /too short|at least 20 characters/i)
  assert.match(words[1] ?? '', /character class/i)
  assert.match(words[2] ?? '', /reuse|history|previous/i)
  const { kvno } = await rotateKeytab(record, { stores, audit })
  assert.equal(kvno, 2)
  const keys = readKeytab(await readFile(keytab)).map(({ key }) => key)
  assert.equal(keys.length, 4)
  assert.deepEqual(findSecrets([told, inspect(told, { depth: 9 })], [...refused, ...keys]), [])
  const [last] = told.slice(-1) as { outcome: string; oldHash: string; newHash: string }[]
  assert.deepEqual([last?.outcome, last?.oldHash === last?.newHash], ['success', false])
})

test('a keytab of another realm, of another principal, or none, is refused with its name', async () => {
  await using other = await startKdc({ realm: 'OTHER.REALM' })
  await other.addPrincipal('etl')
  const keytab = await other.keytab('etl')
  const foreign = await failure(recordOf('etl@TEST.REALM', keytab))
  assert.deepEqual([foreign.code, foreign.details['step']], ['KEYTAB_WITHOUT_PRINCIPAL', 'read'])
  assert.match(foreign.message, /etl@OTHER\.REALM/)
  const missing = await failure(recordOf('etl', kdc.path('nowhere.keytab')))
  assert.deepEqual([missing.code, missing.details['step']], ['KEYTAB_MISSING', 'read'])
  const text = kdc.path('text.keytab')
  await writeFile(text, 'no keytab', { mode: 0o600 })
  assert.equal((await failure(recordOf('etl', text))).code, 'KEYTAB_CORRUPT')
})

test('a keytab that is not ours, is a link, or may be read by others is refused', async () => {
  await kdc.addPrincipal('mine')
  const keytab = await kdc.keytab('mine')
  const record = recordOf('mine', keytab)
  const before = await readFile(keytab)
  const refusal = async (given = record): Promise<string> => {
    const error = await failure(given)
    assert.deepEqual([error.code, error.details['step']], ['KEYTAB_NOT_TRUSTED', 'read'])
    assert.deepEqual(await readFile(keytab), before)
    return error.message
  }
  await chmod(keytab, 0o640)
  assert.match(await refusal(), /may be read by other users \(mode 0640\)/)
  await chmod(keytab, 0o600)
  const link = kdc.path('link.keytab')
  await symlink(keytab, link)
  assert.match(await refusal(recordOf('mine', link)), /symbolic link/)
  if (isRoot) {
    await chown(keytab, OTHER_USERS.mallory, OTHER_USERS.mallory)
    assert.match(await refusal(), new RegExp(`belongs to the user with the id ${OTHER_USERS.mallory}`))
    await chown(keytab, 0, 0)
  }
  await rotateKeytab(record, { stores })
})

test('a KDC or a password service that is away stops the step, and the same call goes on', {
  timeout: 120_000,
}, async () => {
  await kdc.addPrincipal('away')
  const keytab = await kdc.keytab('away')
  const record = recordOf('away', keytab)
  const stopAt = async (step: string, stop: () => Promise<void>): Promise<PoolsmithError> =>
    failure(record, { onStep: async (next) => (next === step ? stop() : undefined) })
  for (const [step, kvno] of [
    ['login', 2],
    ['keys', 3],
    ['verify', 4],
  ] as const) {
    const error = await stopAt(step, kdc.stop)
    assert.deepEqual([error.code, error.details['step'], error.transient], ['KDC_UNREACHABLE', step, true])
    await kdc.start()
    const done = await rotateKeytab(record, { stores })
    assert.deepEqual([done.kvno, done.resumed], [kvno, step !== 'login'])
  }
  const error = await stopAt('alter', () => kadmind.stop())
  assert.equal(error.details['step'], 'alter')
  assert.match(String(error.hint), /Run the same again/)
  const left = await readPending(keytab)
  assert.deepEqual(
    findSecrets([error, inspect(error)], [left?.password.reveal() ?? assert.fail('none is pending')]),
    [],
  )
  kadmind = await startKadmind(kdc)
  const done = await rotateKeytab(record, { stores })
  assert.deepEqual([done.kvno, done.resumed], [5, true])
})

test('two rotations of one keytab at once: one of them is refused, and the other ends', {
  timeout: 60_000,
}, async () => {
  await kdc.addPrincipal('twice')
  const record = recordOf('twice', await kdc.keytab('twice'))
  const refused: string[] = []
  const { kvno } = await rotateKeytab(record, {
    stores,
    // The lock is taken at the first step.
    onStep: async (step) => void (step === 'read' || refused.push((await failure(record)).code)),
  })
  assert.equal(kvno, 2)
  assert.deepEqual([...new Set(refused)], ['ROTATION_RUNNING'])
})

test('a key that was changed by hand cannot be rotated by itself', { timeout: 60_000 }, async () => {
  await kdc.addPrincipal('stale')
  const keytab = await kdc.keytab('stale')
  await kdc.changeKeys('stale')
  const error = await failure(recordOf('stale', keytab))
  assert.deepEqual([error.code, error.details['step']], ['ROTATION_STUCK', 'login'])
})

test('a command of the site changes the key, without a shell, also after the key was lost', {
  timeout: 60_000,
}, async () => {
  await kdc.addPrincipal('sited')
  const bossKeytab = await kdc.keytab('boss')
  const keytab = await kdc.keytab('sited')
  const record = recordOf('sited', keytab)
  const login = ['-p', 'boss', '-k', '-t', bossKeytab]
  const command = ['kadmin', ...login, 'ktadd', '-k', '{keytab}', '{principal}']
  const stores = { environment: { PATH: process.env['PATH'] ?? '', ...kdc.environment } }
  await kdc.changeKeys('sited')
  const { kvno, versions, resumed } = await rotateKeytab(record, { stores, command })
  assert.deepEqual([kvno, versions, resumed], [3, [1, 3], false])
  const failing: readonly (readonly [command: string[], words: RegExp])[] = [
    [['true', '{keytab}'], /has put no new key of sited@TEST\.REALM/],
    [['false', '{keytab}'], /failed \(exit code 1\)/],
    [['/nowhere/kadmin', '{keytab}'], /could not be started \(ENOENT\)/],
  ]
  for (const [given, words] of failing) {
    const error = await failure(record, { stores, command: given })
    assert.deepEqual([error.code, error.details['step']], ['ROTATION_COMMAND_FAILED', 'alter'])
    assert.match(error.message, words)
  }
  const marker = kdc.path('marker')
  await failure(record, { stores, command: ['true', '{keytab}', `; touch ${marker}`, `$(touch ${marker})`] })
  assert.equal(existsSync(marker), false)
  // The command had ended, and we had not.
  await copyFile(keytab, `${keytab}.new`)
  await kdc.kadmin(`ktadd -k ${keytab}.new sited`)
  const finished = await rotateKeytab(record, { stores, command: ['false', '{keytab}'] })
  assert.deepEqual([finished.kvno, finished.resumed], [4, true])
})

test('a record or options that do not fit are refused with all reasons', async () => {
  const problems = async (record: object, options: RotateKeytabOptions = {}): Promise<string> => {
    const error = await rotateKeytab(record as never, { stores, ...options }).catch((reason: unknown) => reason)
    assert.ok(error instanceof ConfigError, inspect(error))
    return error.message
  }
  const record = recordOf('etl', kdc.path('x.keytab'))
  assert.match(
    await problems({ ...record, extra: {}, password: 'x' }),
    /auth_method: is password; a keytab needs kerberos/,
  )
  assert.match(await problems({ ...record, extra: { auth_method: 'kerberos' } }), /extra\.keytab: missing/)
  assert.match(await problems(record, { command: ['kadmin'] }), /one of them with \{keytab\}/)
  assert.match(await problems(record, { keepOldSeconds: -1 }), /keepOldSeconds: expected a number of seconds from 0/)
})

test('the command line rotates a keytab, and removes old versions', { timeout: 60_000 }, async () => {
  await kdc.addPrincipal('lined')
  const keytab = await kdc.keytab('lined')
  const log = kdc.path('audit.jsonl')
  const query = new URLSearchParams({ auth_method: 'kerberos', principal: 'lined', keytab, audit_file: log })
  const environment = { ...kdc.environment, POOLSMITH_CONN_SALES: `postgres://127.0.0.1:1/x?${query}` }
  const done = await poolsmith(['rotate', 'sales', '--keytab', '--by', 'nightly'], environment)
  assert.equal(done.code, 0, done.log)
  const lines = (await linesOf(log)).filter(({ event }) => event === 'rotation')
  assert.deepEqual(
    lines.map(({ credential, service, by, outcome }) => [credential, service, by, outcome]),
    [['keytab', 'sales', 'nightly', 'success']],
  )
  assert.match(done.out, /^sales: lined@TEST\.REALM has a new key in .*\.keytab, version 2 \(it holds 1, 2\)/)
  const cleaned = await poolsmith(['rotate', 'sales', '--keytab', '--only-clean', '--keep-old', '0'], environment)
  assert.match(cleaned.out, /version 2 \(it holds 2\)/, cleaned.log)
  const wrong = await poolsmith(['rotate', 'sales', '--keytab-command', 'kadmin ktadd'], environment)
  assert.deepEqual([wrong.code, /--keytab-command expects a list in JSON/.test(wrong.log)], [2, true], wrong.log)
  const both = await poolsmith(['rotate', 'sales', '--keytab', '--users', 'a,b'], environment)
  assert.match(both.log, /--users has no effect beside --keytab/)
})
