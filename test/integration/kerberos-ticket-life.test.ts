/** The beginning, the renewal and the end of a ticket that one process keeps. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { KerberosTicket } from '../../src/kerberos/kerberos-ticket.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'

let kdc: Kdc
let keytab: string

before(async () => {
  kdc = await startKdc()
  enterRealm(kdc)
  await kdc.addPrincipal('etl', { maxLife: '1 hour' })
  keytab = await kdc.keytab('etl')
})
after(() => kdc[Symbol.asyncDispose]())

test('process: KRB5CCNAME names the own cache from start() to close()', async () => {
  const before = process.env.KRB5CCNAME
  const cache = `FILE:${kdc.path('named')}`
  const ticket = new KerberosTicket({ principal: 'etl', keytab, cache, updater: 'process' })
  await ticket.start()
  assert.equal(process.env.KRB5CCNAME, `${cache}_${process.pid}`)
  assert.equal((await verifyTicket()).principal, `etl@${kdc.realm}`)
  await ticket.close()
  assert.equal(process.env.KRB5CCNAME, before)
})

test('start() after close() is told as such', async () => {
  const ticket = new KerberosTicket({ principal: 'etl', keytab, cache: `FILE:${kdc.path('reopened')}` })
  await ticket.start()
  await ticket.close()
  await assert.rejects(ticket.start(), (error) => {
    assert.ok(error instanceof PoolsmithError)
    assert.equal(error.message, 'This KerberosTicket was closed, and cannot be started again.')
    assert.match(error.hint ?? '', /Make a new KerberosTicket/)
    return true
  })
})

test('a renewal that gains too little is skipped where there is a keytab', async () => {
  const events: string[] = []
  await using ticket = new KerberosTicket({
    principal: 'etl',
    keytab,
    cache: `FILE:${kdc.path('gain')}`,
    // Due after 2 s, when a renewal would add only one.
    lifetimeSeconds: 4,
    renewableSeconds: 5,
    preferRenewal: true,
    onEvent: ({ kind }) => void events.push(kind),
  })
  await ticket.acquire()
  while (events.length < 2) {
    await ticket.ensure()
    await sleep(50)
  }
  assert.deepEqual(events.slice(0, 2), ['acquired', 'acquired'])
})
