/** Obstacles that another local user can put in the way of a ticket, in a folder that all may write to, such as /tmp. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, lstat, mkdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { KerberosTicket } from '../../src/kerberos/kerberos-ticket.ts'
import { refreshTicket } from '../../src/kerberos/refresh-ticket.ts'
import { runSidecar } from '../../src/kerberos/sidecar.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'
import { asUser, OTHER_USERS } from '../support/unprivileged.ts'

const { alice, mallory } = OTHER_USERS
const isRoot = process.geteuid?.() === 0

let kdc: Kdc
let keytab: string
/** Mode 1777: all may write, and only an owner may rename or remove. */
let sticky: string
/** A file of the victim that mallory may not write. */
let victims: string
const SECRET = 'export PATH=/usr/bin\n'

/** Runs a shell's line as another user. */
function as(user: number, line: string): void {
  const [command = '', ...args] = asUser(user, ['sh', '-c', `umask 0; ${line}`])
  execFileSync(command, args, { cwd: '/', stdio: ['ignore', 'inherit', 'inherit'] })
}

/** The traps that mallory leaves at a path. */
const PLANTS: Readonly<Record<string, (path: string) => string>> = {
  'an empty file that all may write': (path) => `: > ${path}`,
  'a file that mallory alone may read': (path) => `: > ${path}; chmod 0600 ${path}`,
  'a link to a file of the victim': (path) => `ln -s ${victims} ${path}`,
  'a link to a file that does not exist': (path) => `ln -s ${sticky}/made ${path}`,
  'a link to a file of her own': (path) => `: > ${sticky}/hers; ln -s ${sticky}/hers ${path}`,
  'a pipe': (path) => `mkfifo ${path}`,
}

/** Everything that must stay as mallory left it, and as the victim had it. */
async function state(path: string): Promise<unknown> {
  const { uid, mode, size, mtimeMs } = await lstat(path)
  const leadsTo = await readlink(path).catch(() => undefined)
  const secret = await readFile(victims, 'utf8')
  const made = await stat(join(sticky, 'made')).catch(() => undefined)
  const hers = await readFile(join(sticky, 'hers'), 'utf8').catch(() => '')
  return { uid, mode, size, mtimeMs, leadsTo, secret, made, hers }
}

interface Outcome {
  readonly code: string
  readonly message: string
}

/** Asks for a ticket as the victim: in this process as root, in one of its own as another user. */
async function acquire(victim: number, cache: string): Promise<Outcome> {
  const options = { by: 'keytab', principal: 'etl@TEST.REALM', keytab, cache } as const
  if (victim === 0) {
    return refreshTicket(options).then(
      () => ({ code: 'acquired', message: '' }),
      (error: unknown) => {
        assert.ok(error instanceof PoolsmithError, String(error))
        return { code: error.code, message: error.message }
      },
    )
  }
  const module = new URL('../../src/kerberos/refresh-ticket.ts', import.meta.url).href
  const program = `
    const { refreshTicket } = await import(${JSON.stringify(module)})
    const outcome = await refreshTicket(${JSON.stringify(options)}).then(
      () => ({ code: 'acquired', message: '' }),
      ({ code, message }) => ({ code, message }),
    )
    console.log(JSON.stringify(outcome))
  `
  const [command = '', ...args] = asUser(victim, [process.execPath, '--input-type=module', '-e', program])
  return JSON.parse(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }))
}

suite('another user of the machine', { skip: !isRoot && 'only root can become other users' }, () => {
  before(async () => {
    kdc = await startKdc()
    enterRealm(kdc)
    await chmod(kdc.folder, 0o755)
    await kdc.addPrincipal('etl')
    keytab = await kdc.keytab('etl')
    sticky = kdc.path('tmp')
    await mkdir(sticky)
    await chmod(sticky, 0o1777)
  })
  after(() => kdc[Symbol.asyncDispose]())

  for (const [name, victim] of [
    ['root', 0],
    ['a user', alice],
  ] as const) {
    for (const [kind, plant] of Object.entries(PLANTS)) {
      test(`${name} refuses ${kind} in place of the cache, and of its lock`, async (t) => {
        victims = kdc.path(`profile-${victim}`)
        await writeFile(victims, SECRET)
        as(0, `chown ${victim} ${victims}; chmod 0600 ${victims}`)
        for (const suffix of ['', '.lock']) {
          const cache = join(sticky, 'krb5cc')
          const path = `${cache}${suffix}`
          as(mallory, plant(path))
          t.after(() => rm(path, { force: true }))
          const before = await state(path)
          const { code, message } = await acquire(victim, `FILE:${cache}`)
          assert.equal(code, 'TICKET_CACHE_NOT_TRUSTED', message)
          assert.ok(message.includes(`${path} `), message)
          assert.deepEqual(await state(path), before)
          if (suffix !== '') await assert.rejects(lstat(cache), { code: 'ENOENT' })
          for (const left of ['krb5cc', 'krb5cc.lock', 'hers']) await rm(join(sticky, left), { force: true })
        }
      })
    }

    test(`${name} makes a new cache for ${name} alone, beside leftovers that are not to be removed`, async () => {
      const path = join(sticky, `new-${victim}`)
      const leftover = join(sticky, `.new-${victim}.1.0123456789ab.tmp`)
      as(mallory, `: > ${leftover}`)
      for (let round = 0; round < 2; round++) {
        assert.deepEqual(await acquire(victim, `FILE:${path}`), { code: 'acquired', message: '' })
        for (const made of [path, `${path}.lock`]) {
          const { uid, mode } = await lstat(made)
          assert.deepEqual([made, uid, mode & 0o7777], [made, victim, 0o600])
        }
      }
      assert.equal((await lstat(leftover)).uid, mallory)
    })
  }

  test("root does not take over another user's own cache", async () => {
    const path = join(sticky, 'alices')
    assert.equal((await acquire(alice, `FILE:${path}`)).code, 'acquired')
    const before = await readFile(path)
    const { code, message } = await acquire(0, `FILE:${path}`)
    assert.equal(code, 'TICKET_CACHE_NOT_TRUSTED')
    assert.match(message, /alices\S* belongs to the user with the id 47111, not to 0\./)
    assert.deepEqual([await readFile(path), (await lstat(path)).uid], [before, alice])
  })

  test('a cache is not destroyed through a link', async () => {
    const target = kdc.path('kept')
    await acquire(0, `FILE:${target}`)
    const before = await readFile(target)
    const link = join(sticky, 'link')
    as(mallory, `ln -s ${target} ${link}`)
    const ticket = new KerberosTicket({ cache: `FILE:${link}` })
    await assert.rejects(ticket.destroy(), { code: 'TICKET_CACHE_NOT_TRUSTED', message: /link is a symbolic link/ })
    assert.deepEqual(await readFile(target), before)
  })

  test('a health file of another user, or a link, is refused at the start', async () => {
    const target = kdc.path('kept')
    const path = join(sticky, 'healthy')
    for (const line of [`: > ${path}`, `ln -s ${target} ${path}`]) {
      as(mallory, line)
      const before = await lstat(path)
      await assert.rejects(
        runSidecar(
          { keytab, cache: `FILE:${kdc.path('kept')}`, healthFile: path },
          { signal: AbortSignal.timeout(20_000), log: () => undefined },
        ),
        { code: 'CONFIG_INVALID', message: /healthy (belongs to the user with the id 47112|is a symbolic link)/ },
      )
      assert.deepEqual(await lstat(path), before)
      await rm(path)
    }
  })
})
