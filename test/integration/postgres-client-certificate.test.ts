/** A client certificate that the server does not accept: said as such, though under TLS 1.3 the word comes late. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Credential } from '../../src/credentials/credential.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, passwordCredential } from '../support/postgres-driver.ts'

describe('a client certificate of another authority', () => {
  let server: PostgresServer
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  const credential: Credential = passwordCredential('never asked for')

  before(async () => {
    folder = await temporaryFolder()
    const pki = await createPki()
    const { cert, key } = await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] })
    server = await startPostgres({ tls: { cert, key, ca: pki.ca }, hba: ['hostssl all all 127.0.0.1/32 cert'] })
    // One authority that the server does not know, and one that calls itself like the server's: after a rotation.
    for (const name of ['another CA', 'poolsmith test CA']) {
      const issued = await (await createPki(name)).issue({ commonName: 'postgres', client: true })
      await writeFile(join(folder.path, `${name}.crt`), issued.cert)
      await writeFile(join(folder.path, `${name}.key`), issued.key, { mode: 0o600 })
    }
  })
  after(async () => {
    await server[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
  })

  for (const [name, alert] of [
    ['another CA', 'unknown ca'],
    ['poolsmith test CA', 'decrypt error'],
  ] as const) {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      test(`${alert}, ${version}`, async () => {
        const { driver } = driverFor(
          { host: server.host, port: server.port, login: 'postgres' },
          {
            sslmode: 'require',
            ssl_max_protocol_version: version,
            sslcert: join(folder.path, `${name}.crt`),
            sslkey: join(folder.path, `${name}.key`),
          },
        )
        const error = await openingError(driver, credential)
        assert.deepEqual([error.code, error.phase], ['TLS_CLIENT_CERTIFICATE_REFUSED', 'tls'], error.message)
        assert.match(error.message, new RegExp(alert))
        assert.match(error.hint ?? '', /ssl_ca_file/)
      })
    }
  }
})

describe('a server that wants a client certificate', () => {
  for (const method of ['cert', 'scram-sha-256 clientcert=verify-ca']) {
    test(`and gets none, by ${method}: says what to set`, async () => {
      const pki = await createPki()
      const { cert, key } = await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] })
      await using server = await startPostgres({
        tls: { cert, key, ca: pki.ca },
        hba: [`hostssl all all 127.0.0.1/32 ${method}`],
      })
      const { driver } = driverFor({ host: server.host, port: server.port, login: 'postgres' }, { sslmode: 'require' })
      const error = await openingError(driver, passwordCredential(server.superuserPassword))
      assert.deepEqual([error.code, error.phase], ['TLS_CLIENT_CERTIFICATE_REFUSED', 'login'], error.message)
      assert.match(error.hint ?? '', /Set sslcert and sslkey/)
      assert.doesNotMatch(error.hint ?? '', /sslmode|gssencmode/)
    })
  }
})
