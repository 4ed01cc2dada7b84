/** The names in an error of Kerberos, and the commands in its hint, which work as they are printed. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, beforeEach, test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { openCredential } from '../../src/kerberos/ensure-ticket.ts'
import type { GssMechanism, GssTarget } from '../../src/kerberos/gss-api.ts'
import { loadGssApi } from '../../src/kerberos/load-gss-api.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'

/** The realm of the server, to which krb5.conf maps localhost. */
let lab: Kdc
/** The realm of the client. */
let partner: Kdc
let stranger: Kdc
let cache: string
let caches = 0

before(async () => {
  lab = await startKdc({ realm: 'LAB.TEST' })
  partner = await startKdc({ realm: 'PARTNER.TEST' })
  stranger = await startKdc({ realm: 'STRANGER.TEST' })
  for (const kdc of [lab, partner]) await kdc.addPrincipal('krbtgt/LAB.TEST@PARTNER.TEST', { password: 'trust' })
  await lab.configure([], { 'PARTNER.TEST': partner.port, 'STRANGER.TEST': stranger.port })
  enterRealm(lab)
  await lab.addPrincipal('postgres/localhost')
  await lab.addPrincipal('anna', { password: 'a' })
  await partner.addPrincipal('alice', { password: 'a' })
  await stranger.addPrincipal('eve', { password: 'a' })
})
after(async () => {
  for (const kdc of [lab, partner, stranger]) await kdc[Symbol.asyncDispose]()
})
beforeEach(() => {
  caches++
  cache = `FILE:${lab.path(`words ${caches}`)}`
})

const POSTGRES: GssTarget = { service: 'postgres', host: 'localhost' }

async function failure(client: string, target: GssTarget, mechanism: GssMechanism = 'krb5'): Promise<PoolsmithError> {
  await lab.kinit(client, cache, { password: 'a' })
  const gss = await loadGssApi()
  using opened = await openCredential(gss, { cache }, { mechanism })
  using context = gss.initContext({ target, flags: ['mutual'], credential: opened.handle, mechanism })
  return await refusal(context.step())
}

async function refusal(work: Promise<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

/** Runs the commands that a hint prints, as a person would paste them. */
function runPrinted(
  hint: string | undefined,
  input = '',
): { readonly command: string; readonly status: number | null }[] {
  return [...(hint ?? '').matchAll(/`((?:[A-Z0-9_]+=(?:'[^']*'|\S+) )*(?:kinit|kvno|klist|ls|fuser) [^`]*)`/g)].map(
    ([, command = '']) => {
      const { status } = spawnSync('sh', ['-c', command], {
        env: { ...lab.environment, PATH: process.env.PATH, HOME: lab.folder },
        input,
      })
      return { command, status }
    },
  )
}

for (const mechanism of ['krb5', 'spnego'] as const) {
  test(`${mechanism}: the realm whose KDC is down is named, also when it is the server's`, async () => {
    await lab.stop()
    try {
      const error = await failure('alice@PARTNER.TEST', POSTGRES, mechanism)
      assert.equal(error.code, 'KDC_UNREACHABLE')
      assert.equal(error.phase, 'gss')
      assert.match(error.message, new RegExp(`^No KDC of LAB\\.TEST \\(127\\.0\\.0\\.1:${lab.port}\\) can be reached`))
    } finally {
      await lab.start()
    }
  })

  test(`${mechanism}: a service that the KDC does not know is named as a principal in full`, async () => {
    const error = await failure('anna', { service: 'postgres', host: 'nowhere.test' }, mechanism)
    assert.equal(error.code, 'SPN_UNKNOWN')
    assert.match(
      error.message,
      /Kerberos database of LAB\.TEST does not know the server postgres\/nowhere\.test@LAB\.TEST/,
    )
    assert.match(
      error.hint ?? '',
      /`krbsrvname`; `kvno -c '?FILE:\S+ \d+'? postgres\/nowhere\.test@LAB\.TEST` must work/,
    )
  })
}

test('a realm without a trust is named', async () => {
  const error = await failure('eve@STRANGER.TEST', POSTGRES)
  assert.equal(error.code, 'SPN_UNKNOWN')
  assert.match(error.message, /STRANGER\.TEST has no trust with the realm LAB\.TEST/)
  assert.match(error.hint ?? '', /\[domain_realm\]/)
})

test('a realm without a KDC in krb5.conf is named', async () => {
  const error = await failure('anna', { principal: 'postgres/localhost@ELSEWHERE.TEST' })
  assert.match(error.message, /ELSEWHERE\.TEST/)
})

const OPTIONS: readonly (readonly [option: string, target: GssTarget])[] = [
  ['krbsrvname', { service: 'postgres', host: 'nowhere.test' }],
  ['krbspn', { principal: 'postgres/nowhere.test@LAB.TEST' }],
  ['mssql_spn', { service: 'MSSQLSvc', host: 'nowhere.test:1433' }],
  ['mssql_spn', { principal: 'MSSQLSvc/nowhere.test:SALES@LAB.TEST' }],
]
for (const [option, target] of OPTIONS) {
  const asked = 'principal' in target ? target.principal : `${target.service}@${target.host}`
  test(`for ${asked} the hint names ${option}, and its kvno works once the service exists`, async () => {
    const error = await failure('anna', target)
    assert.equal(error.code, 'SPN_UNKNOWN')
    assert.match(error.hint ?? '', new RegExp(`\`${option}\``))
    const before = runPrinted(error.hint)
    assert.deepEqual(
      before.map(({ status }) => status),
      [1],
    )
    const principal = before[0]?.command.split(' ').at(-1) ?? ''
    await lab.addPrincipal(principal)
    try {
      assert.deepEqual(
        runPrinted(error.hint).map(({ status }) => status),
        [0],
      )
    } finally {
      await lab.deletePrincipal(principal)
    }
  })
}

test('the kinit of a hint fills the cache that was named', async () => {
  const error = await refusal(verifyTicket({ cache, principal: 'anna' }))
  assert.equal(error.code, 'TICKET_CACHE_MISSING')
  assert.deepEqual(
    runPrinted(error.hint, 'a\n').map(({ status }) => status),
    [0],
    error.hint,
  )
  assert.equal((await verifyTicket({ cache, principal: 'anna' })).principal, 'anna@LAB.TEST')
})

test('the kinit for a cache of another principal leaves the ticket there', async () => {
  await lab.kinit('alice@PARTNER.TEST', cache, { password: 'a' })
  const error = await refusal(verifyTicket({ cache, principal: 'anna' }))
  assert.equal(error.code, 'TICKET_PRINCIPAL_MISMATCH')
  assert.deepEqual(
    runPrinted(error.hint, 'a\n').map(({ status }) => status),
    [0],
    error.hint,
  )
  assert.equal((await verifyTicket({ cache })).principal, 'alice@PARTNER.TEST')
})

test('the kinit for a collection adds the principal, and destroys no ticket', async () => {
  const { mkdir } = await import('node:fs/promises')
  const folder = lab.path(`collection ${caches}`)
  await mkdir(folder)
  const collection = `DIR:${folder}`
  await lab.kinit('alice@PARTNER.TEST', collection, { password: 'a' })
  const error = await refusal(verifyTicket({ cache: collection, principal: 'anna' }))
  assert.deepEqual(
    runPrinted(error.hint, 'a\n').map(({ status }) => status),
    [0],
    error.hint,
  )
  for (const principal of ['anna', 'alice@PARTNER.TEST']) {
    assert.ok((await verifyTicket({ cache: collection, principal })).principal.startsWith(principal))
  }
})
