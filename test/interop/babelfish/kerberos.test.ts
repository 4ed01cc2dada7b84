/** Logins by Kerberos at Babelfish, whose acceptor is not that of the test double. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { after, test } from 'node:test'
import { createEngine } from '../../../src/index.ts'
import { enterRealm, startKdc } from '../../support/kdc.ts'
import { startBabelfish } from './babelfish.ts'

const stack = new AsyncDisposableStack()
after(() => stack.disposeAsync())

test('Babelfish takes a ticket in each mechanism and under each encryption', async (t) => {
  const kdc = stack.use(await startKdc())
  enterRealm(kdc)
  await kdc.addPrincipal('alice', { password: 'pw' })
  const cache = `FILE:${kdc.path('alice')}`
  await kdc.kinit('alice', cache, { password: 'pw' })
  const babelfish = stack.use(await startBabelfish(kdc))
  const { port, login, password } = babelfish
  const caFile = kdc.path('ca.pem')
  await writeFile(caFile, babelfish.ca)
  const server = { type: 'mssql', host: 'localhost', port, database: 'master' } as const
  {
    await using db = await createEngine({ ...server, login, password, extra: { ca_file: caFile } })
    await db.raw(`exec babelfish_add_domain_mapping_entry 'test', '${kdc.realm}'`)
    await db.raw('create login [test\\alice] from windows')
  }
  for (const gss_mechanism of ['krb5', 'spnego']) {
    for (const encrypt of [true, false]) {
      await t.test(`${gss_mechanism}, encrypt=${encrypt}`, async () => {
        const extra = { auth_method: 'kerberos', ccache: cache, gss_mechanism, encrypt, ca_file: caFile }
        await using db = await createEngine({ ...server, extra })
        assert.deepEqual(await db.raw('select suser_sname() as n'), [{ n: 'test\\alice' }])
      })
    }
  }
})
