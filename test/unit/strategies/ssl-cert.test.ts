import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { Credential } from '../../../src/credentials/credential.ts'
import { sslCert } from '../../../src/strategies/ssl-cert.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { createPki } from '../../support/pki.ts'
import { build } from './context.ts'

const pki = await createPki()
const DAY = 86_400_000

async function files(folder: string) {
  const settings = { sslcert: join(folder, 'client.crt'), sslkey: join(folder, 'client.key') }
  return {
    settings,
    async write(issued: { cert: string; key: string }) {
      await writeFile(settings.sslkey, issued.key, { mode: 0o600 })
      await writeFile(settings.sslcert, issued.cert)
    },
  }
}

describe('ssl_cert', () => {
  test('gives the pair until the certificate expires, with its subject as the identity', async () => {
    await using folder = await temporaryFolder()
    const { settings, write } = await files(folder.path)
    const notAfter = new Date(Math.floor((Date.now() + 90 * DAY) / 1000) * 1000)
    const issued = await pki.issue({ commonName: 'svc_etl', client: true, notAfter })
    await write(issued)
    const { source } = await build(sslCert, {}, {}, { settings })
    const credential = await source.get()
    assert.equal(credential.kind, 'certificate')
    assert.equal(credential.certificate, issued.cert)
    assert.equal(credential.privateKey.reveal(), issued.key)
    assert.equal(credential.expiresAt, notAfter.getTime())
    assert.equal(credential.user, 'svc_etl')
    assert.match(credential.identity, /CN=svc_etl/)
    assert.ok(!inspect(credential, { depth: 9 }).includes('PRIVATE KEY'))
    source.close()

    const named = await build(sslCert, { login: 'mapped' }, {}, { settings })
    assert.equal((await named.source.get()).user, 'mapped')
    named.source.close()
  })

  test('notices a rotated pair while it is in use, and at once after a refused login', async () => {
    await using folder = await temporaryFolder()
    const { settings, write } = await files(folder.path)
    await write(await pki.issue({ commonName: 'svc', client: true }))
    const { source } = await build(sslCert, {}, {}, { settings })
    const first = await source.get()
    const changed = new Promise<Credential>((resolve) => source.onChange(resolve))
    const second = await pki.issue({ commonName: 'svc', client: true })
    await write(second)
    const told = await changed
    assert.equal(told.kind === 'certificate' && told.certificate, second.cert)
    const third = await pki.issue({ commonName: 'svc', client: true })
    await write(third)
    source.reject(source.current() as Credential)
    const fresh = await source.get()
    assert.equal(fresh.kind === 'certificate' && fresh.certificate, third.cert)
    assert.notEqual(fresh, first)
    source.close()
  })

  test('warns of a certificate that expires soon, and refuses an expired one', async () => {
    await using folder = await temporaryFolder()
    const { settings, write } = await files(folder.path)
    const soon = { notBefore: new Date(Date.now() - 89 * DAY), notAfter: new Date(Date.now() + DAY) }
    await write(await pki.issue({ commonName: 'svc', client: true, ...soon }))
    const { source, events } = await build(sslCert, {}, {}, { settings })
    await source.get()
    assert.ok(events.some(({ name }) => name === 'certificate:expiring'))
    source.close()

    const over = { notBefore: new Date(Date.now() - 9 * DAY), notAfter: new Date(Date.now() - DAY) }
    await write(await pki.issue({ commonName: 'svc', client: true, ...over }))
    const expired = await build(sslCert, {}, {}, { settings })
    await assert.rejects(expired.source.get(), { code: 'CERTIFICATE_EXPIRED', phase: 'credential' })
    expired.source.close()
  })

  test('names the file that is missing', async () => {
    const { source } = await build(
      sslCert,
      {},
      {},
      { settings: { sslcert: '/nowhere/a.crt', sslkey: '/nowhere/a.key' } },
    )
    await assert.rejects(source.get(), { code: 'CERTIFICATE_FILE_MISSING', message: /\/nowhere\/a\.crt/ })
    source.close()
  })
})
