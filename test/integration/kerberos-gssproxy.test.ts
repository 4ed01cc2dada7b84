/** gssproxy keeps keytab and ticket in a daemon of its own; psql and poolsmith log in through it. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine } from '../../src/index.ts'
import { ensureTicket } from '../../src/kerberos/ensure-ticket.ts'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'
import { psql } from '../support/postgres.ts'

let realm: KerberosPostgres
let daemon: ChildProcess
let environment: Record<string, string>

before(async () => {
  realm = await startKerberosPostgres({
    hba: ['host all all 127.0.0.1/32 gss include_realm=0'],
    roles: ['alice'],
  })
  const { kdc } = realm
  const folder = kdc.path('gssproxy')
  await mkdir(folder, { mode: 0o700 })
  const [socket, file] = [`${folder}/test.sock`, `${folder}/gssproxy.conf`]
  const service = {
    mechs: 'krb5',
    cred_usage: 'initiate',
    euid: String(process.geteuid?.() ?? 0),
    socket,
  }
  const stores = [`client_keytab:${await kdc.keytab('alice')}`, `ccache:FILE:${folder}/cc`]
  const lines = [
    '[gssproxy]',
    '[service/test]',
    ...Object.entries(service).map(([name, value]) => `  ${name} = ${value}`),
    ...stores.map((store) => `  cred_store = ${store}`),
  ]
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 })
  daemon = spawn('/usr/sbin/gssproxy', ['-i', '-c', file, '-s', `${folder}/default.sock`], {
    env: { ...process.env, ...kdc.environment },
    stdio: 'ignore',
  })
  process.once('exit', () => daemon.kill('SIGKILL'))
  for (let waited = 0; !existsSync(socket); waited += 20) {
    assert.ok(waited < 30_000 && daemon.exitCode === null, 'gssproxy does not start')
    await sleep(20)
  }
  environment = { GSS_USE_PROXY: 'yes', GSSPROXY_SOCKET: socket, KRB5CCNAME: `FILE:${kdc.path('none')}` }
  Object.assign(process.env, environment)
})
after(async () => {
  for (const name of Object.keys(environment ?? {})) delete process.env[name]
  daemon?.kill('SIGKILL')
  await realm[Symbol.asyncDispose]()
})

const WHO = 'select current_user as name, encrypted from pg_stat_gssapi where pid = pg_backend_pid()'

test('psql logs in through gssproxy', async () => {
  const place = `host=localhost port=${realm.server.port} dbname=postgres user=alice`
  const { stdout, stderr } = await psql(['-Atc', WHO, place], { ...realm.kdc.environment, ...environment })
  assert.equal(stdout, 'alice|t\n', stderr)
})

for (const gssencmode of ['require', 'disable']) {
  test(`and so does poolsmith: gssencmode=${gssencmode}`, async () => {
    await using db = await createEngine({
      type: 'postgres',
      host: 'localhost',
      port: realm.server.port,
      database: 'postgres',
      extra: { auth_method: 'kerberos', gssencmode },
    })
    const { rows } = await db.raw(WHO)
    assert.deepEqual(rows, [{ name: 'alice', encrypted: gssencmode === 'require' }])
    db.pool.invalidate()
    assert.equal((await db.raw(WHO)).rows[0].name, 'alice')
  })
}

test('a cache or a keytab that is named is used itself', async () => {
  const { kdc } = realm
  await kdc.addPrincipal('carol')
  const { principal } = await ensureTicket({ keytab: await kdc.keytab('carol'), cache: `FILE:${kdc.path('carol')}` })
  assert.equal(principal, 'carol@TEST.REALM')
})
